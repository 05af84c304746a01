"""In which state a training run is, written to `train_dir/run_state.json` for all that watch it from outside."""

from __future__ import annotations

import enum
import json
import os
import socket
import time
from dataclasses import asdict, dataclass

import psutil

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

    STOPPED = "STOPPED"
    """Terminal: a signal asked for the end; the checkpoint of that moment is saved and the same command resumes."""

    @property
    def is_terminal(self) -> bool:
        """True if the run does nothing any more."""
        return self not in (RunState.RUNNING, RunState.EVALUATING)

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

    @property
    def is_abandoned(self) -> bool:
        """True if it says that it goes on, but its process on this host is gone; False if that cannot be known."""
        if self.state.is_terminal or self.host != socket.gethostname():
            return False
        try:
            # A process that began after this was written has merely got the same number.
            return bool(psutil.Process(self.pid).create_time() > self.time)
        except psutil.Error:
            return True

    @property
    def training_ended(self) -> bool:
        """True if no new checkpoint will come from this run."""
        return self.state.training_ended or self.is_abandoned


def _path(train_dir: str) -> str:
    return os.path.join(train_dir, "run_state.json")


def write_run_state(train_dir: str, state: RunState, max_steps: int) -> None:
    """Records the state, with this process as the run's."""
    record = RunRecord(state, max_steps, socket.gethostname(), os.getpid(), time.time())
    storage.write_text(_path(train_dir), json.dumps({**asdict(record), "state": state.value}) + "\n")


def read_run_state(train_dir: str) -> RunRecord | None:
    """What was recorded last, or None if no run has begun, or if it is nothing that a run of this version wrote."""
    if not storage.exists(_path(train_dir)):
        return None
    try:
        values = json.loads(storage.read_text(_path(train_dir)))
        return RunRecord(**{**values, "state": RunState(values["state"])})
    except (ValueError, TypeError, KeyError):
        return None
