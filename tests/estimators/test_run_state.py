from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from estimators.run_state import RunState, read_run_state, write_run_state


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


def test_only_a_running_run_makes_more_checkpoints() -> None:
    assert [state for state in RunState if not state.training_ended] == [RunState.RUNNING]
