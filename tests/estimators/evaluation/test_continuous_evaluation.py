"""Every checkpoint is evaluated once, as they come, until the run has ended."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest
import tensorflow as tf

from estimators.checkpoints.checkpoint_files import (
    Checkpoint,
    awaits_evaluation,
    list_checkpoints,
    read_metrics,
)
from estimators.errors import UserError
from estimators.evaluation import continuous_evaluation
from estimators.evaluation.checkpoint_evaluator import UnreadableCheckpointError, begin_report
from estimators.evaluation.continuous_evaluation import evaluate_continuously
from estimators.experiment_options import ExperimentOptions
from estimators.metrics import EvaluationMetrics, EvaluationResult
from estimators.train_dir.run_state import RunRecord, RunState, read_run_state, write_run_state
from tests.estimators.evaluated_run import evaluate, steps_of
from tests.estimators.run_elsewhere import run_elsewhere_with_a_late_clock

pytestmark = pytest.mark.filterwarnings(r"ignore:`tf\.layers\.")
STEPS = [0, 2, 4, 6]


@pytest.mark.parametrize("state", [state for state in RunState if state.training_ended])
def test_each_checkpoint_of_a_finished_run_is_evaluated_once_oldest_first(
    run: ExperimentOptions, bring: Callable[..., None], state: RunState
) -> None:
    bring(*STEPS)
    write_run_state(run.train_dir, state, 6)
    done, lines = evaluate(run)
    assert done == 4 and steps_of(run) == STEPS
    assert "checkpoints evaluated: 4, the newest is of step 6" in lines[-1]
    done, lines = evaluate(run)
    assert done == 0 and steps_of(run) == STEPS
    assert not [line for line in lines if line.startswith(("epoch", "examples_processed"))]
    assert f"evaluated: 0, the newest is of step 6 and was evaluated before, see {run.train_dir}/eval/" in lines[-1]


def test_a_run_elsewhere_whose_clock_is_late_is_followed_to_its_end(
    run: ExperimentOptions, bring: Callable[..., None]
) -> None:
    looks = 0

    def next_event(seconds: float) -> None:
        nonlocal looks
        looks += 1
        if looks == 2:
            bring(6)
            write_run_state(run.train_dir, RunState.SUCCEEDED, 6)

    bring(0)
    with run_elsewhere_with_a_late_clock(Path(run.train_dir), lives=True):
        done, lines = evaluate(run, sleep=next_event)
    assert done == 2 and steps_of(run) == [0, 6] and looks == 2
    assert not [line for line in lines if "torn" in line]


def test_the_last_checkpoint_of_a_run_that_ends_during_a_second_look_is_evaluated(
    run: ExperimentOptions, bring: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    def look(train_dir: str, record: RunRecord, announce: Callable[[str], None]) -> RunRecord:
        if not record.is_abandoned or steps_of(run) == []:
            return dataclasses.replace(record, is_abandoned=False)  # at the beginning
        bring(6)
        write_run_state(train_dir, RunState.SUCCEEDED, 6)
        ended = read_run_state(train_dir)
        assert ended is not None
        return ended

    monkeypatch.setattr(continuous_evaluation, "looked_at_again", look)
    bring(0)
    with run_elsewhere_with_a_late_clock(Path(run.train_dir), lives=True):
        done, _ = evaluate(run)
    assert done == 2 and steps_of(run) == [0, 6]


def test_checkpoints_are_evaluated_as_they_come_until_training_ends(
    run: ExperimentOptions, bring: Callable[..., None]
) -> None:
    write_run_state(run.train_dir, RunState.RUNNING, 6)
    seen: list[list[int]] = []

    def next_event(seconds: float) -> None:
        assert 0 < seconds <= 2
        seen.append(steps_of(run))
        if len(seen) == 1:
            assert awaits_evaluation(run.train_dir, evaluator_planned=False)
        elif len(seen) == 2:
            bring(0)
        elif len(seen) == 3:
            bring(4, 2)
        elif len(seen) == 4:  # the last one and the end of training come at once
            bring(6)
            write_run_state(run.train_dir, RunState.EVALUATING, 6)
        else:
            raise AssertionError("it should have ended")

    done, lines = evaluate(run, sleep=next_event)
    assert (done, steps_of(run)) == (4, STEPS)
    assert seen == [[], [], [0], [0, 2, 4]]
    assert [line for line in lines if line.startswith("waiting")] == [f"waiting for a checkpoint in {run.train_dir}"]


def test_before_a_run_begins_it_is_waited_for(run: ExperimentOptions, bring: Callable[..., None]) -> None:
    def begin(seconds: float) -> None:
        bring(2)
        write_run_state(run.train_dir, RunState.SUCCEEDED, 2)

    assert evaluate(run, sleep=begin)[0] == 1


def test_one_look_evaluates_the_newest_only_and_not_twice(run: ExperimentOptions, bring: Callable[..., None]) -> None:
    assert evaluate(run, run_once=True)[0] == 0
    bring(0, 2)
    write_run_state(run.train_dir, RunState.RUNNING, 6)
    assert evaluate(run, run_once=True)[0] == 1 and steps_of(run) == [2]
    assert evaluate(run, run_once=True)[0] == 0 and steps_of(run) == [2]


def _tear(options: ExperimentOptions, step: int) -> None:
    Path(options.train_dir, f"model.ckpt-{step}.data-00000-of-00001").write_bytes(b"")


@pytest.mark.parametrize("state", [RunState.SUCCEEDED, RunState.RUNNING])
def test_one_look_at_a_torn_checkpoint_evaluates_the_newest_sound_one(
    run: ExperimentOptions, bring: Callable[..., None], state: RunState
) -> None:
    bring(*STEPS)
    _tear(run, 4)
    _tear(run, 6)
    write_run_state(run.train_dir, state, 6)
    done, lines = evaluate(run, run_once=True)
    assert done == 1 and steps_of(run) == [2]
    told = [line for line in lines if "is torn, so it is not evaluated" in line]
    assert len(told) == 2 and "step 6 " in told[0] and "model.ckpt-4.data-00000-of-00001 is cut short" in told[1]


def test_a_torn_checkpoint_does_not_end_the_evaluation_of_the_others(
    run: ExperimentOptions, bring: Callable[..., None]
) -> None:
    bring(*STEPS)
    _tear(run, 2)
    write_run_state(run.train_dir, RunState.SUCCEEDED, 6)
    done, lines = evaluate(run)
    assert done == 3 and steps_of(run) == [0, 4, 6]
    assert len([line for line in lines if "step 2 is torn" in line]) == 1


def test_if_no_checkpoint_of_a_finished_run_is_sound_that_is_an_error(
    run: ExperimentOptions, bring: Callable[..., None]
) -> None:
    bring(2, 6)
    _tear(run, 2)
    _tear(run, 6)
    write_run_state(run.train_dir, RunState.SUCCEEDED, 6)
    with pytest.raises(UserError, match="No checkpoint in --train_dir is sound"):
        evaluate(run)


def test_a_run_that_ended_without_a_checkpoint_is_told(run: ExperimentOptions) -> None:
    write_run_state(run.train_dir, RunState.FAILED, 6)
    done, lines = evaluate(run)
    assert done == 0 and "holds no checkpoint" in lines[-1]


class Deleted:
    """An evaluator whose checkpoints are gone before they can be restored, the first so many of them."""

    def __init__(self, train_dir: str, count: int) -> None:
        self._train_dir, self._left = train_dir, count

    def evaluate(self, checkpoint: Checkpoint) -> EvaluationResult:
        assert checkpoint in list_checkpoints(self._train_dir)
        if self._left:
            self._left -= 1
            Path(checkpoint.prefix + ".index").unlink()
            raise UnreadableCheckpointError("it cannot be restored")
        metrics = EvaluationMetrics()
        metrics.add([[0.5]], [[1]], float(checkpoint.step))
        return metrics.result()


def test_a_checkpoint_that_is_deleted_meanwhile_is_passed_over(
    run: ExperimentOptions, bring: Callable[..., None]
) -> None:
    bring(0, 2)
    write_run_state(run.train_dir, RunState.SUCCEEDED, 2)
    lines: list[str] = []
    report = begin_report(run.train_dir, lines.append)
    assert evaluate_continuously(run.train_dir, Deleted(run.train_dir, 1), report) == 1
    assert steps_of(run) == [2] and read_metrics(run.train_dir)[0]["loss"] == 2
    assert [line for line in lines if "step 0 was deleted before" in line]


def test_the_same_numbers_go_to_tensorboard(run: ExperimentOptions, bring: Callable[..., None]) -> None:
    bring(0, 2)
    write_run_state(run.train_dir, RunState.SUCCEEDED, 2)
    evaluate(run)
    (path,) = Path(run.train_dir, "eval").glob("events.out.tfevents.*")
    found = {
        (event.step, value.tag): value.simple_value
        for event in tf.compat.v1.train.summary_iterator(str(path))
        for value in event.summary.value
    }
    assert set(found) == {(step, tag) for step in (0, 2) for tag in ("Hit@1", "PERR", "MAP", "GAP", "loss")}
    assert found[2, "loss"] == pytest.approx(read_metrics(run.train_dir)[-1]["loss"])
