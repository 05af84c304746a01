from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from estimators.processes.process_identity import process_here
from estimators.train_dir.run_state import RunRecord, RunState, looked_at_again, read_run_state, write_run_state
from estimators.train_dir.train_dir_lock import locked
from tests.estimators.run_elsewhere import run_elsewhere_with_a_late_clock


def test_before_a_run_begins_there_is_no_state(tmp_path: Path) -> None:
    assert read_run_state(str(tmp_path)) is None


@pytest.mark.parametrize("state", RunState)
def test_the_state_is_read_as_it_was_written(tmp_path: Path, state: RunState) -> None:
    write_run_state(str(tmp_path), RunState.RUNNING, 40)
    write_run_state(str(tmp_path), state, 40)
    record = read_run_state(str(tmp_path))
    assert record is not None and (record.state, record.max_steps, record.process.pid) == (state, 40, os.getpid())
    assert abs(record.time - time.time()) < 3600
    assert os.listdir(tmp_path) == ["run_state.json"]


def _recorded(folder: Path, **changed: object) -> RunRecord:
    """What is read when another process, or one elsewhere, had written a RUNNING state."""
    write_run_state(str(folder), RunState.RUNNING, 40)
    path = folder / "run_state.json"
    values = json.loads(path.read_text())
    path.write_text(json.dumps({**values, "process": {**values["process"], **changed}}))
    record = read_run_state(str(folder))
    assert record is not None
    return record


def test_a_run_whose_process_is_gone_is_abandoned(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    started = process_here(process.pid).started_ticks
    record = _recorded(tmp_path, pid=process.pid, started_ticks=started)
    assert not record.is_abandoned and not record.training_ended
    process.kill()
    process.wait()
    record = _recorded(tmp_path, pid=process.pid, started_ticks=started)
    assert record.is_abandoned and record.training_ended


def test_a_later_process_with_the_number_of_the_run_is_not_the_run(tmp_path: Path) -> None:
    assert not _recorded(tmp_path).is_abandoned
    assert _recorded(tmp_path, started_ticks=5).is_abandoned


def test_a_run_elsewhere_is_abandoned_once_its_lock_shows_no_life(tmp_path: Path) -> None:
    assert _recorded(tmp_path, host="elsewhere", place="elsewhere").is_abandoned, "it has no lock"
    with locked(str(tmp_path)):
        lock = tmp_path / "run_lock.json"
        values = json.loads(lock.read_text())
        lock.write_text(
            json.dumps({**values, "process": {**values["process"], "host": "elsewhere", "place": "elsewhere"}})
        )
        assert not _recorded(tmp_path, host="elsewhere", place="elsewhere").is_abandoned
        assert _recorded(tmp_path, host="elsewhere", place="elsewhere", pid=1).is_abandoned, "the lock is another's"
        os.utime(lock, (time.time() - 300, time.time() - 300))
        assert _recorded(tmp_path, host="elsewhere", place="elsewhere").is_abandoned


@pytest.mark.parametrize("lives", [True, False])
def test_a_run_elsewhere_whose_clock_is_late_is_abandoned_if_a_second_look_finds_it_silent(
    tmp_path: Path, lives: bool
) -> None:
    with run_elsewhere_with_a_late_clock(tmp_path, lives=lives):
        record = read_run_state(str(tmp_path))
        assert record is not None and record.is_abandoned
        lines: list[str] = []
        again = looked_at_again(str(tmp_path), record, lines.append, silent_secs=30 if lives else 0.5)
        assert again.is_abandoned is not lives and again.training_ended is not lives
        assert "for a sign of life" in lines[0] and len(lines) == 1
        (tmp_path / "run_lock.json").unlink()
        assert looked_at_again(str(tmp_path), record, lines.append) == record and len(lines) == 1


def test_a_run_that_ended_is_not_abandoned(tmp_path: Path) -> None:
    for state in (RunState.FAILED, RunState.SUCCEEDED):
        write_run_state(str(tmp_path), state, 40)
        record = read_run_state(str(tmp_path))
        assert record is not None and not record.is_abandoned


def test_only_a_running_run_makes_more_checkpoints() -> None:
    assert [state for state in RunState if not state.training_ended] == [RunState.RUNNING]
