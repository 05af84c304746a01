"""Real processes: what the kernel does with them is the point."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from estimators.processes.child_process import ChildProcess

ROOT = Path(__file__).parents[3]
PATIENCE = 20.0
CHILD = "from estimators.processes.child_process import die_with_parent; die_with_parent(); "
SLEEP = CHILD + "print('ready', flush=True); import time; time.sleep(60)"
# Starts a process of its own, in the same group, says its id, and sleeps.
WITH_GRANDCHILD = (
    CHILD
    + "import subprocess, sys, time; p = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']); "
    "print(p.pid, flush=True); time.sleep(60)"
)
# A parent that starts a sleeping child, says the child's id, and sleeps.
PARENT = (
    "import os, sys, time; from estimators.processes.child_process import ChildProcess\n"
    "child = ChildProcess([sys.executable, '-c', sys.argv[1]], env=dict(os.environ))\n"
    "print(child.pid, flush=True); time.sleep(60)"
)


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT)}


@pytest.fixture
def started() -> Iterator[list[ChildProcess]]:
    """Processes to be ended, whatever happens."""
    children: list[ChildProcess] = []
    yield children
    for child in children:
        child.kill()


def python(code: str, started: list[ChildProcess], **how: object) -> ChildProcess:
    child = ChildProcess([sys.executable, "-c", code], env=environment(), **how)  # type: ignore[arg-type]
    started.append(child)
    return child


def is_gone(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


def goes(pid: int) -> bool:
    until = time.monotonic() + PATIENCE
    while not is_gone(pid) and time.monotonic() < until:
        time.sleep(0.02)
    return is_gone(pid)


def first_line(log: str) -> str:
    """The first line that a child writes to a file."""
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        text = Path(log).read_text()
        if "\n" in text:
            return text.splitlines()[0]
        time.sleep(0.02)
    raise AssertionError("the child said nothing")


@pytest.mark.parametrize(("code", "expected"), [("pass", 0), ("raise SystemExit(3)", 3), ("import os; os.abort()", -6)])
def test_the_exit_code_tells_how_it_ended(started: list[ChildProcess], code: str, expected: int) -> None:
    child = python(CHILD + code, started, output=subprocess.DEVNULL)
    assert child.wait(PATIENCE) == expected == child.exit_code()


def test_it_runs_until_it_ends(started: list[ChildProcess]) -> None:
    child = python(SLEEP, started, output=subprocess.DEVNULL)
    assert child.exit_code() is None and child.wait(0.05) is None
    child.kill()
    assert child.exit_code() == -signal.SIGKILL and is_gone(child.pid)
    child.kill()  # nothing is left to end, and that is no error


def test_lines_reach_its_stdin_and_its_output_and_errors_are_one_file(started: list[ChildProcess]) -> None:
    with tempfile.NamedTemporaryFile() as log:
        code = CHILD + "import sys; print(input()); sys.stdout.flush(); print(input(), file=sys.stderr)"
        child = python(code, started, output=log, stdin=True)
        child.write_line("first – ü")
        child.write_line("second")
        assert child.wait(PATIENCE) == 0
        assert Path(log.name).read_text() == "first – ü\nsecond\n"


def test_a_line_to_a_process_that_is_gone_is_no_error(started: list[ChildProcess]) -> None:
    child = python(CHILD, started, stdin=True)
    child.wait(PATIENCE)
    for _ in range(3):
        child.write_line("x" * 100_000)


def test_it_inherits_the_file_descriptors_it_was_promised_and_no_other(started: list[ChildProcess]) -> None:
    read_end, write_end = os.pipe()
    kept = os.open("/dev/null", os.O_RDONLY)
    os.set_inheritable(kept, True)
    code = CHILD + f"import os; os.write({write_end}, b'open' if os.path.exists('/proc/self/fd/{kept}') else b'closed')"
    try:
        assert python(code, started, pass_fds=[write_end]).wait(PATIENCE) == 0
    finally:
        os.close(write_end)
        os.close(kept)
    with os.fdopen(read_end, "rb") as pipe:
        assert pipe.read() == b"closed"


def test_kill_ends_the_whole_group(started: list[ChildProcess]) -> None:
    with tempfile.NamedTemporaryFile() as log:
        child = python(WITH_GRANDCHILD, started, output=log)
        grandchild = int(first_line(log.name))
        assert os.getpgid(grandchild) == child.pid != os.getpgid(0)
        child.kill()
        assert goes(grandchild) and is_gone(child.pid)


@pytest.mark.parametrize("seen_by", ["kill", "wait", "exit_code"])
def test_what_a_process_that_died_has_left_in_its_group_is_ended_before_its_number_is_another_s(
    started: list[ChildProcess], seen_by: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with tempfile.NamedTemporaryFile() as log:
        child = python(WITH_GRANDCHILD, started, output=log)
        grandchild = int(first_line(log.name))
        os.kill(child.pid, signal.SIGKILL)
        until = time.monotonic() + PATIENCE
        while getattr(child, seen_by)() is None and child.exit_code() is None and time.monotonic() < until:
            time.sleep(0.02)
        assert child.exit_code() == -signal.SIGKILL and goes(grandchild)
        monkeypatch.delattr(os, "killpg")
        child.kill()  # from now on the number may belong to others


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
def test_it_dies_with_its_parent(end: signal.Signals) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, SLEEP], env=environment(), stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    try:
        said = [parent.stdout.readline(), parent.stdout.readline()]
        child = int(next(line for line in said if line.strip() != "ready"))
        assert not is_gone(child)
        parent.send_signal(end)
        parent.wait(PATIENCE)
        assert goes(child)
    finally:
        parent.kill()
        parent.wait()
        parent.stdout.close()


def test_it_ends_at_once_if_its_parent_was_gone_before_it_asked() -> None:
    done = subprocess.run(
        [sys.executable, "-c", CHILD + "print('alive')"],
        env={**environment(), "CVD_PARENT_PID": "1"},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 1 and done.stdout == b""
