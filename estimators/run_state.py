"""In which state a training run is, written to `train_dir/run_state.json` for all that watch it from outside."""

from __future__ import annotations

import enum
import json
import os
import socket
import time
from dataclasses import asdict, dataclass

from estimators import storage


class RunState(enum.Enum):
    """The states of a training run."""

    RUNNING = "RUNNING"
    """Tasks are being started, or train."""
    EVALUATING = "EVALUATING"
    """The last step is reached, saved and exported; an evaluator is at work on what it has not evaluated yet."""
    SUCCEEDED = "SUCCEEDED"
    """Terminal: the last step is reached, saved and exported, and evaluated if that was asked for."""
    FAILED = "FAILED"
    """Terminal: training ended before its last step; checkpoints stay and the same command resumes."""

    @property
    def training_ended(self) -> bool:
        """True if no new checkpoint will come from this run."""
        return self is not RunState.RUNNING


@dataclass(frozen=True)
class RunRecord:
    """What `run_state.json` says.

    Attributes:
      state: see RunState.
      max_steps: the step at which training is to end.
      host: where the command runs.
      pid: its process id.
      time: seconds since the epoch, when this was written.
    """

    state: RunState
    max_steps: int
    host: str
    pid: int
    time: float


def _path(train_dir: str) -> str:
    return os.path.join(train_dir, "run_state.json")


def write_run_state(train_dir: str, state: RunState, max_steps: int) -> None:
    """Records the state, with this process as the run's."""
    record = RunRecord(state, max_steps, socket.gethostname(), os.getpid(), time.time())
    storage.write_text(_path(train_dir), json.dumps({**asdict(record), "state": state.value}) + "\n")


def read_run_state(train_dir: str) -> RunRecord | None:
    """What was recorded last, or None if no run has begun."""
    if not storage.exists(_path(train_dir)):
        return None
    values = json.loads(storage.read_text(_path(train_dir)))
    return RunRecord(**{**values, "state": RunState(values["state"])})
