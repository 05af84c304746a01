"""Checkpoints that could not be evaluated: tried twice, noted in `eval/failed.jsonl`, and told at the end.

So one bad moment, or one bad checkpoint, ends neither the evaluations that come after it nor the training beside it.
"""

from __future__ import annotations

import json
import os
import time
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass

from estimators import storage
from estimators.checkpoints.checkpoint_files import Checkpoint, failed_path, list_checkpoints, read_failed
from estimators.checkpoints.checkpoint_soundness import flaw_of
from estimators.errors import HarnessError, UserError
from estimators.evaluation.checkpoint_evaluator import CheckpointEvaluator
from estimators.metrics import EvaluationResult


class NotEvaluatedError(HarnessError):
    """A checkpoint could not be evaluated, and that is noted."""


@dataclass(frozen=True)
class FailedEvaluation:
    """A line of `eval/failed.jsonl`.

    Attributes:
      global_step: of the checkpoint.
      error: the message for people, or the traceback.
      time: seconds since the epoch.
    """

    global_step: int
    error: str
    time: float


class RetryingEvaluator:
    """A `CheckpointEvaluator` that tries once more, and notes what fails again.

    Args:
      evaluator: does the work.
      train_dir: the folder of the run.
      line: called with each line for people.
    """

    def __init__(self, evaluator: CheckpointEvaluator, train_dir: str, line: Callable[[str], None]) -> None:
        self._evaluator, self._train_dir, self._line = evaluator, train_dir, line

    def evaluate(self, checkpoint: Checkpoint) -> EvaluationResult:
        """The metrics of one checkpoint.

        Raises:
          NotEvaluatedError: it failed twice.
          Exception: the checkpoint was deleted meanwhile, or is torn.
        """
        try:
            return self._evaluator.evaluate(checkpoint)
        except Exception as error:
            if self._is_no_failure(checkpoint):
                raise
            self._line(f"the evaluation of step {checkpoint.step} failed ({type(error).__name__}); trying once more")
        try:
            return self._evaluator.evaluate(checkpoint)
        except Exception as error:
            if self._is_no_failure(checkpoint):
                raise
            text = str(error) if isinstance(error, HarnessError) else traceback.format_exc()
            row = FailedEvaluation(checkpoint.step, text, time.time())
            storage.append_line(failed_path(self._train_dir), json.dumps(asdict(row)))
            self._line(f"the evaluation of step {checkpoint.step} failed again; the run goes on without it:")
            for line in text.rstrip().splitlines():
                self._line(f"  {line}")
            raise NotEvaluatedError(f"step {checkpoint.step} is not evaluated") from error

    def _is_no_failure(self, checkpoint: Checkpoint) -> bool:
        return checkpoint not in list_checkpoints(self._train_dir) or flaw_of(checkpoint.prefix) is not None


def check_none_failed(train_dir: str) -> None:
    """To be called when nothing more will be evaluated.

    Raises:
      UserError: a checkpoint could not be evaluated; with its step, and the traceback of the first.
    """
    failed = [FailedEvaluation(**row) for row in read_failed(train_dir)]
    if not failed:
        return
    path = failed_path(train_dir)
    steps = ", ".join(str(one.global_step) for one in failed)
    raise UserError(
        f"{len(failed)} checkpoint(s) could not be evaluated: of step {steps}",
        asked=f"each was tried twice; see {os.path.basename(os.path.dirname(path))}/{os.path.basename(path)}",
        found=f"step {failed[0].global_step}: {failed[0].error.strip()}",
        change="what the error names; then launch.eval on this train_dir evaluates what is missing",
    )
