from __future__ import annotations

import dataclasses
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from estimators.run_state import RunRecord, RunState, read_run_state, write_run_state


def test_before_a_run_begins_there_is_no_state(tmp_path: Path) -> None:
    assert read_run_state(str(tmp_path)) is None


@pytest.mark.parametrize("state", RunState)
def test_the_state_is_read_as_it_was_written(tmp_path: Path, state: RunState) -> None:
    write_run_state(str(tmp_path), RunState.RUNNING, 40)
    write_run_state(str(tmp_path), state, 40)
    record = read_run_state(str(tmp_path))
    assert record is not None and (record.state, record.max_steps, record.pid) == (state, 40, os.getpid())
    assert abs(record.time - time.time()) < 3600
    assert os.listdir(tmp_path) == ["run_state.json"]


def test_a_run_whose_process_is_gone_is_abandoned(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    record = RunRecord(RunState.RUNNING, 40, socket.gethostname(), process.pid, time.time())
    assert not record.is_abandoned and not record.training_ended
    process.kill()
    process.wait()
    assert record.is_abandoned and record.training_ended
    assert not dataclasses.replace(record, host="elsewhere").is_abandoned, "of another host that is not known"
    assert not dataclasses.replace(record, state=RunState.FAILED).is_abandoned
    # A later process with the same number is not the run's.
    assert dataclasses.replace(record, pid=os.getpid(), time=0.0).is_abandoned


def test_only_a_running_run_makes_more_checkpoints() -> None:
    assert [state for state in RunState if not state.training_ended] == [RunState.RUNNING]
