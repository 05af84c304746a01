"""In which state a training run is, written to `train_dir/run_state.json` for all that watch it from outside."""

from __future__ import annotations

import enum
import json
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace

from estimators import storage
from estimators.processes.process_identity import ProcessIdentity, this_process
from estimators.train_dir.train_dir_holder import SILENT_SECS, read_holder, shows_life
from estimators.train_dir.train_dir_lock import was_lost


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
    """Terminal: a signal asked for the end; the checkpoint of that moment is saved, unless a second signal came or the
    message says otherwise, and the same command resumes."""

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
      process: of the command.
      time: seconds since the epoch, when this was written.
      is_abandoned: True if it says that it goes on, but its process is gone, or gives no sign of life from elsewhere.
    """

    state: RunState
    max_steps: int
    process: ProcessIdentity
    time: float
    is_abandoned: bool = False

    @property
    def training_ended(self) -> bool:
        """True if no new checkpoint will come from this run."""
        return self.state.training_ended or self.is_abandoned


def _path(train_dir: str) -> str:
    return os.path.join(train_dir, "run_state.json")


def write_run_state(train_dir: str, state: RunState, max_steps: int) -> None:
    """Records the state, with this process as the run's; nothing if this process lost the train_dir to another run."""
    if was_lost(train_dir):
        return
    values = {"state": state.value, "max_steps": max_steps, "process": asdict(this_process()), "time": time.time()}
    storage.write_text(_path(train_dir), json.dumps(values) + "\n")


def read_run_state(train_dir: str) -> RunRecord | None:
    """What was recorded last, or None if no run has begun, or if it is nothing that a run of this version wrote."""
    if not storage.exists(_path(train_dir)):
        return None
    try:
        values = json.loads(storage.read_text(_path(train_dir)))
        process = ProcessIdentity(**values.pop("process"))
        record = RunRecord(**{**values, "state": RunState(values["state"]), "process": process})
    except (ValueError, TypeError, KeyError):
        return None
    return replace(record, is_abandoned=_is_abandoned(train_dir, record))


def looked_at_again(
    train_dir: str, record: RunRecord, announce: Callable[[str], None], silent_secs: float = SILENT_SECS
) -> RunRecord:
    """The record, abandoned only if that is sure: the clock of a run elsewhere may be another than this machine's.

    Args:
      train_dir: the folder.
      record: what `read_run_state` returned.
      announce: called with a line if there is something to wait for.
      silent_secs: how long to wait for a sign of life of a run elsewhere that seems abandoned.
    """
    holder = read_holder(train_dir) if record.is_abandoned else None
    if holder is None or holder.process != record.process:
        return record
    if shows_life(train_dir, holder, announce, silent_secs):
        return replace(record, is_abandoned=False)
    return read_run_state(train_dir) or record  # it may have ended meanwhile


def _is_abandoned(train_dir: str, record: RunRecord) -> bool:
    if record.state.is_terminal:
        return False
    gone = record.process.is_gone
    if gone is not None:
        return gone
    holder = read_holder(train_dir)
    return holder is None or holder.process != record.process or not holder.lives()
