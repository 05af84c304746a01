"""Two runs on one train_dir: one of them has it. Locks are taken by real processes, which are really killed."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from estimators import storage
from estimators.errors import HarnessError, InfrastructureError, UserError
from estimators.train_dir import train_dir_lock
from estimators.train_dir.run_state import RunState, read_run_state, write_run_state
from estimators.train_dir.train_dir_holder import LOCK_FILE, check_free, read_holder
from estimators.train_dir.train_dir_lock import locked
from tests.buckets.emulator import Emulator

ROOT = Path(__file__).parents[3]
PROGRAM = """
import sys
from estimators.errors import HarnessError
from estimators.train_dir.train_dir_lock import locked
from tests.buckets.emulator import Emulator
try:
    with locked(sys.argv[1], beat_secs=0.1):
        print("locked", flush=True)
        input()
except HarnessError as error:
    print(error.summary, flush=True)
"""


@contextlib.contextmanager
def process_that_locks(folder: Path) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(folder)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def said(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def moved_elsewhere(folder: Path) -> None:
    """Makes the lock one of another host, where nobody can look its process up."""
    path = folder / LOCK_FILE
    values = json.loads(path.read_text())
    values["process"].update(host="far-away", place="another boot")
    path.write_text(json.dumps(values))


def outcomes_of_attempts(count: int, train_dir: str, **options: float) -> list[str]:
    """What becomes of so many that want the lock at once, while whoever got it holds it: "locked", or its error."""
    got: list[str] = []
    release = threading.Event()

    def attempt() -> None:
        try:
            with locked(train_dir, announce=lambda line: None, **options):
                got.append("locked")
                release.wait(60)
        except UserError as error:
            got.append(error.summary)

    threads = [threading.Thread(target=attempt) for _ in range(count)]
    for thread in threads:
        thread.start()
    while len(got) < count:
        time.sleep(0.02)
    release.set()
    for thread in threads:
        thread.join()
    return got


def test_a_second_run_is_refused_with_host_process_and_time_of_the_first(tmp_path: Path) -> None:
    with process_that_locks(tmp_path) as first:
        assert said(first) == "locked"
        for attempt in (lambda: check_free(str(tmp_path), print), lambda: locked(str(tmp_path)).__enter__()):
            with pytest.raises(UserError) as caught:
                attempt()
            assert f"process {first.pid} on {socket.gethostname()}, since 20" in caught.value.found
            assert "--train_dir" in caught.value.change
        assert read_holder(str(tmp_path)) is not None, "the first keeps it"


def test_the_folder_is_free_again_once_a_run_ended(tmp_path: Path) -> None:
    for _ in range(2):
        with locked(str(tmp_path / "run")):
            assert os.listdir(tmp_path / "run") == [LOCK_FILE]
    assert os.listdir(tmp_path / "run") == []
    with pytest.raises(RuntimeError, match="midway"), locked(str(tmp_path)):
        raise RuntimeError("midway")
    check_free(str(tmp_path), print)
    assert not (tmp_path / LOCK_FILE).exists()


def test_the_lock_of_a_killed_run_is_taken_over_with_a_line(tmp_path: Path) -> None:
    with process_that_locks(tmp_path) as first:
        assert said(first) == "locked"
        first.kill()
        first.wait()
        check_free(str(tmp_path), print)
        lines: list[str] = []
        with locked(str(tmp_path), announce=lines.append):
            holder = read_holder(str(tmp_path))
            assert holder is not None and holder.process.pid == os.getpid()
        assert len(lines) == 1 and f"process {first.pid}" in lines[0] and "is gone" in lines[0]


def test_a_process_that_got_the_number_of_a_dead_one_does_not_hold_its_lock(tmp_path: Path) -> None:
    with locked(str(tmp_path)):
        values = json.loads((tmp_path / LOCK_FILE).read_text())
    values["process"]["started_ticks"] -= 3600
    (tmp_path / LOCK_FILE).write_text(json.dumps(values))
    with locked(str(tmp_path), announce=lambda line: None):
        pass


def test_of_ten_processes_that_start_at_once_one_gets_the_folder(tmp_path: Path) -> None:
    with contextlib.ExitStack() as stack:
        some = [stack.enter_context(process_that_locks(tmp_path)) for _ in range(10)]
        answers = [said(process) for process in some]
        assert sorted(answers) == ["Another run is at work on --train_dir"] * 9 + ["locked"]


def test_of_several_that_take_over_the_same_dead_lock_at_once_one_gets_it(tmp_path: Path) -> None:
    with process_that_locks(tmp_path) as first:
        assert said(first) == "locked"
    assert outcomes_of_attempts(5, str(tmp_path)).count("locked") == 1


def test_a_run_elsewhere_that_shows_life_is_refused(tmp_path: Path) -> None:
    with process_that_locks(tmp_path) as first:
        assert said(first) == "locked"
        moved_elsewhere(tmp_path)
        lines: list[str] = []
        with pytest.raises(UserError) as caught, locked(str(tmp_path), announce=lines.append, silent_secs=60):
            raise AssertionError("the first run lives")
        assert "far-away" in caught.value.found and "looking 60 s for a sign of life" in lines[0]
        # Also before this run waits for room, which the first one has.
        with pytest.raises(UserError, match="Another run is at work"):
            check_free(str(tmp_path), lines.append, silent_secs=60)
        assert len(lines) == 2


def test_a_run_elsewhere_that_is_silent_is_replaced(tmp_path: Path) -> None:
    with process_that_locks(tmp_path) as first:
        assert said(first) == "locked"
    moved_elsewhere(tmp_path)
    lines: list[str] = []
    check_free(str(tmp_path), lines.append, silent_secs=0.5)
    with locked(str(tmp_path), announce=lines.append, silent_secs=600):
        pass  # it was looked at
    assert "looking" in lines[0] and "is gone" in lines[1] and len(lines) == 2
    long_ago = time.time() - 2 * 3600
    (tmp_path / LOCK_FILE).write_text("{")
    os.utime(tmp_path / LOCK_FILE, (long_ago, long_ago))
    with locked(str(tmp_path), announce=lines.append, silent_secs=600):
        pass  # a lock that is damaged and old needs no looking


def ended_by(folder: Path, trouble: Callable[[Path], None]) -> HarnessError:
    """What a run in the main thread is told when this happens to its folder."""
    with pytest.raises(HarnessError) as caught, locked(str(folder), beat_secs=0.05):
        _bring_about_and_wait(trouble, folder)
    return caught.value


def _bring_about_and_wait(trouble: Callable[[Path], None], folder: Path) -> None:
    trouble(folder)
    time.sleep(60)
    raise AssertionError("it was not interrupted")


def test_a_run_whose_folder_vanishes_is_ended_with_a_message(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    error = ended_by(tmp_path / "run", shutil.rmtree)
    assert isinstance(error, InfrastructureError) and error.summary == "--train_dir is gone"
    assert str(tmp_path / "run") in error.asked and "continues from the newest checkpoint" in error.change
    assert not (tmp_path / "run").exists(), "it is not made anew, empty, in the place of a mount"


def test_a_run_that_stood_still_and_was_replaced_ends_and_leaves_the_lock_to_the_other(tmp_path: Path) -> None:
    def replace(folder: Path) -> None:
        values = json.loads((folder / LOCK_FILE).read_text())
        (folder / LOCK_FILE).write_text(json.dumps({**values, "token": "another"}))

    error = ended_by(tmp_path, replace)
    assert "took over --train_dir" in error.summary
    holder = read_holder(str(tmp_path))
    assert holder is not None and holder.token == "another"
    write_run_state(str(tmp_path), RunState.FAILED, 40)
    assert read_run_state(str(tmp_path)) is None, "its end is not taken for the end of the other"


def test_a_lock_that_somebody_deleted_is_written_again(tmp_path: Path) -> None:
    with locked(str(tmp_path), beat_secs=0.05):
        (tmp_path / LOCK_FILE).unlink()
        until = time.monotonic() + 60
        while not (tmp_path / LOCK_FILE).exists() and time.monotonic() < until:
            time.sleep(0.02)
        check = read_holder(str(tmp_path))
        assert check is not None and check.process.pid == os.getpid()


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(InfrastructureError) as caught, locked(str(tmp_path / "file" / "run")):
        pass
    assert "file" in caught.value.found


def test_a_bucket_is_locked_too(bucket: str) -> None:
    folder = f"{bucket}/run"
    with locked(folder, beat_secs=0.05):
        first = read_holder(folder)
        assert first is not None and first.lives()
        with pytest.raises(UserError, match=f"process {os.getpid()}"), locked(folder):
            raise AssertionError("it is taken")
        until = time.monotonic() + 60
        while (now := read_holder(folder)) is not None and now.beat == first.beat and time.monotonic() < until:
            time.sleep(0.02)
        assert now is not None and now.beat > first.beat, "it gives signs of life"
    assert read_holder(folder) is None and storage.list_dir(folder) == []


def hold_in_bucket(folder: str, *, token: str, host: str = "far-away") -> None:
    """Leaves the lock that a run elsewhere has written."""
    process = {"host": host, "place": "another boot", "pid": 7, "started_ticks": 0}
    storage.write_text(
        f"{folder}/{LOCK_FILE}", json.dumps({"process": process, "since": 0.0, "token": token, "beat": time.time()})
    )


def test_of_several_that_take_over_a_silent_lock_in_a_bucket_one_gets_it(bucket: str) -> None:
    hold_in_bucket(f"{bucket}/run", token="silent")
    assert outcomes_of_attempts(4, f"{bucket}/run", silent_secs=0.5).count("locked") == 1


def test_a_run_that_stood_still_never_writes_over_the_lock_of_its_successor_in_a_bucket(
    bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    look = read_holder

    def replaced_right_after(folder: str) -> object:
        """A beat looks, sees its own lock, stands still, and goes on when another has the folder."""
        holder = look(folder)
        if holder is not None and holder.token != "successor":
            hold_in_bucket(folder, token="successor")
        return holder

    def wait(folder: Path) -> None:
        monkeypatch.setattr(train_dir_lock, "read_holder", replaced_right_after)

    with pytest.raises(InfrastructureError, match="took over"), locked(f"{bucket}/run", beat_secs=0.05):
        _bring_about_and_wait(wait, Path())
    holder = look(f"{bucket}/run")
    assert holder is not None and holder.token == "successor"


def test_a_bucket_that_does_not_answer_for_a_while_does_not_end_a_run(emulator: Emulator, bucket: str) -> None:
    with locked(f"{bucket}/run", beat_secs=0.05):
        emulator.closed.add(bucket.removeprefix("gs://"))
        time.sleep(0.5)
        emulator.forget()
        first = read_holder(f"{bucket}/run")
        until = time.monotonic() + 60
        while read_holder(f"{bucket}/run") == first and time.monotonic() < until:
            time.sleep(0.02)
        assert read_holder(f"{bucket}/run") != first
