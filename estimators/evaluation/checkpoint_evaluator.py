"""The contract between the loop over checkpoints (continuous_evaluation.py) and what evaluates one. TensorFlow-free.

Two keep it: this process (local_evaluator.py), and several processes on Ray (cvd_cluster/evaluation/).
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from estimators import storage
from estimators.checkpoints import checkpoint_files
from estimators.checkpoints.checkpoint_files import Checkpoint
from estimators.errors import UserError
from estimators.metrics import EvaluationResult

_MARK_SECS = 5.0
_ALIVE_SECS = 1.0


class UnreadableCheckpointError(UserError):
    """A checkpoint cannot be restored: it was deleted meanwhile, or it does not fit the model."""


class CheckpointEvaluator(Protocol):
    """Evaluates one checkpoint after the other."""

    def evaluate(self, checkpoint: Checkpoint) -> EvaluationResult:
        """The metrics of one checkpoint over all examples.

        Raises:
          UnreadableCheckpointError: it cannot be restored.
          HarnessError: evaluation is over.
        """


@dataclass(frozen=True)
class EvaluationReport:
    """Where the results go.

    Attributes:
      line: called with each line for people.
      beat: called often, also in the middle of an evaluation, as a sign of life.
      eval_name: of the evaluation, if it has a name and so a folder of its own.
      made_with: what its numbers are of, see evaluation_identity.py.
    """

    line: Callable[[str], None]
    beat: Callable[[], None]
    eval_name: str | None = None
    made_with: Mapping[str, str] = field(default_factory=dict)


def begin_report(
    train_dir: str,
    line: Callable[[str], None],
    alive: Callable[[], None] = lambda: None,
    *,
    eval_name: str | None = None,
    made_with: Mapping[str, str] | None = None,
) -> EvaluationReport:
    """Tells the chief, from now on at each beat, that an evaluator is there: so it keeps what is not evaluated yet.

    For an evaluation with a name it keeps nothing: there may be any number of them.

    Args:
      train_dir: the folder of the run.
      line: called with each line for people.
      alive: called at most every second, as a sign of life.
      eval_name: see EvaluationReport.
      made_with: the same.
    """
    storage.make_dirs(os.path.dirname(checkpoint_files.metrics_path(train_dir, eval_name)))
    if eval_name:
        return EvaluationReport(line, alive, eval_name, made_with or {})
    beat = _Beat(train_dir, alive)
    beat.mark_watched()  # it is no sign of life yet: until the first one a process has time to build its graph
    return EvaluationReport(line, beat, None, made_with or {})


class _Beat:
    def __init__(self, train_dir: str, alive: Callable[[], None]) -> None:
        self._train_dir, self._alive = train_dir, alive
        self._marked_at = self._alive_at = float("-inf")

    def __call__(self) -> None:
        if time.monotonic() - self._alive_at >= _ALIVE_SECS:
            self._alive()
            self._alive_at = time.monotonic()
        if time.monotonic() - self._marked_at >= _MARK_SECS:
            self.mark_watched()

    def mark_watched(self) -> None:
        with contextlib.suppress(OSError):  # the next one may be written; the chief waits for many
            checkpoint_files.mark_watched(self._train_dir)
        self._marked_at = time.monotonic()


def progress_line(step: int, examples: int, seconds: float, *, hit_at_one: float, perr: float, loss: float) -> str:
    """How far an evaluation is, in the form of 2017.

    Args:
      step: of the checkpoint.
      examples: evaluated so far.
      seconds: that it took so far.
      hit_at_one: share among the examples that came last.
      perr: of them.
      loss: of them.
    """
    return (
        f"examples_processed: {examples} | global_step {step} | Batch Hit@1: {hit_at_one:.3f} | "
        f"Batch PERR: {perr:.3f} | Batch Loss: {loss:.3f} | "
        f"Examples_per_sec: {examples / max(seconds, 1e-9):.3f}"
    )
