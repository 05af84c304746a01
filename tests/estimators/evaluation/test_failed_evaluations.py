"""What cannot be evaluated is tried twice, noted, and told at the end."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from estimators.checkpoints.checkpoint_files import (
    Checkpoint,
    failed_path,
    failed_steps,
    prune,
)
from estimators.errors import UserError
from estimators.evaluation.checkpoint_evaluator import begin_report
from estimators.evaluation.continuous_evaluation import evaluate_continuously
from estimators.evaluation.failed_evaluations import check_none_failed
from estimators.experiment_options import ExperimentOptions
from estimators.metrics import EvaluationMetrics, EvaluationResult
from estimators.train_dir.run_state import RunState, write_run_state
from tests.estimators.evaluated_run import steps_of

pytestmark = pytest.mark.filterwarnings(r"ignore:`tf\.layers\.")
STEPS = [0, 2, 4, 6]


class Failing:
    """An evaluator that fails so many times for each step, and tells how often it was asked."""

    def __init__(self, failures: dict[int, int]) -> None:
        self.failures, self.asked = dict(failures), list[int]()

    def evaluate(self, checkpoint: Checkpoint) -> EvaluationResult:
        self.asked.append(checkpoint.step)
        if self.failures.get(checkpoint.step, 0):
            self.failures[checkpoint.step] -= 1
            raise KeyError("the author forgot something")
        metrics = EvaluationMetrics()
        metrics.add(np.array([[0.5]], np.float32), np.array([[1.0]], np.float32), 0.5)
        return metrics.result()


def test_beside_training_a_checkpoint_is_tried_twice_then_noted_and_the_others_are_evaluated(
    run: ExperimentOptions, bring: Callable[..., None]
) -> None:
    bring(*STEPS)
    write_run_state(run.train_dir, RunState.SUCCEEDED, 6)
    lines: list[str] = []
    evaluator = Failing({2: 1, 4: 2})
    report = begin_report(run.train_dir, lines.append)
    assert evaluate_continuously(run.train_dir, evaluator, report, keep_going=True) == 3
    assert evaluator.asked == [0, 2, 2, 4, 4, 6] and steps_of(run) == [0, 2, 6]
    assert failed_steps(run.train_dir) == {4}
    assert [line for line in lines if "trying once more" in line] and any("KeyError" in line for line in lines)
    with pytest.raises(UserError) as caught:
        check_none_failed(run.train_dir)
    assert "of step 4" in caught.value.summary and "Traceback" in caught.value.found
    assert "the author forgot something" in caught.value.found

    # It is not kept for ever, nor tried again by this run; from outside it is.
    assert prune(run.train_dir, keep=1, keep_unevaluated=True) == [0, 2, 4]
    bring(4)
    assert evaluate_continuously(run.train_dir, Failing({}), report, keep_going=True) == 0
    assert evaluate_continuously(run.train_dir, Failing({}), report) == 1


def test_from_outside_an_error_ends_the_evaluation(run: ExperimentOptions, bring: Callable[..., None]) -> None:
    bring(2)
    with pytest.raises(KeyError):
        evaluate_continuously(run.train_dir, Failing({2: 1}), begin_report(run.train_dir, print), run_once=True)


def test_a_run_without_failed_evaluations_has_nothing_to_tell(run: ExperimentOptions) -> None:
    check_none_failed(run.train_dir)


def test_a_line_that_was_cut_off_says_nothing_at_the_end_either(run: ExperimentOptions) -> None:
    path = Path(failed_path(run.train_dir))
    path.parent.mkdir(exist_ok=True)
    path.write_text('{"global_st')
    check_none_failed(run.train_dir)
    path.write_text('{"global_step": 4, "error": "e", "time": 1.0}\n{"global_st')
    with pytest.raises(UserError, match=r"1 checkpoint\(s\) could not be evaluated: of step 4"):
        check_none_failed(run.train_dir)
