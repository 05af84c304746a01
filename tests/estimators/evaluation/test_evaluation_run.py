"""Evaluation from outside a run and beside it: which model, loss and data."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from estimators.checkpoints.checkpoint_files import (
    evaluated_steps,
    latest_checkpoint,
    read_metrics,
)
from estimators.errors import UserError
from estimators.evaluation.evaluation_options import EvaluationOptions
from estimators.evaluation.evaluation_run import evaluate_train_dir, prepare_evaluation, run_evaluation
from estimators.experiment_options import ExperimentOptions
from estimators.train_dir.experiment_file import write_experiment
from estimators.train_dir.run_state import RunState, write_run_state
from tests.estimators.evaluated_run import steps_of

pytestmark = pytest.mark.filterwarnings(r"ignore:`tf\.layers\.")


def from_outside(options: ExperimentOptions, **values: object) -> EvaluationOptions:
    pattern = str(Path(options.train_data_pattern).parent / "validation-*")
    return EvaluationOptions(train_dir=options.train_dir, eval_data_pattern=pattern, run_once=True, **values)  # type: ignore[arg-type]


def test_from_outside_the_model_and_its_options_come_from_the_train_dir(
    run: ExperimentOptions, bring: Callable[..., None]
) -> None:
    bring(2, 4)
    pattern = str(Path(run.train_data_pattern).parent / "validation-0")
    lines: list[str] = []
    outside = EvaluationOptions(train_dir=run.train_dir, eval_data_pattern=pattern, run_once=True)
    assert evaluate_train_dir(outside, line=lines.append) == 1
    assert evaluated_steps(run.train_dir) == {4} and read_metrics(run.train_dir)[0]["examples"] == 6


def test_the_model_may_be_named_if_it_is_the_right_one(run: ExperimentOptions, bring: Callable[..., None]) -> None:
    bring(2)
    assert evaluate_train_dir(from_outside(run, model="LogisticModel"), line=print) == 1
    with pytest.raises(UserError) as caught:
        evaluate_train_dir(from_outside(run, model="CnnModel"), line=print)
    error = caught.value
    assert error.asked == "--model=CnnModel" and "--model=LogisticModel" in error.found
    assert f"{run.train_dir}/experiment.json" in error.found and "leave --model out" in error.change


def test_another_loss_can_be_asked_for_and_has_numbers_of_its_own(
    run: ExperimentOptions, bring: Callable[..., None]
) -> None:
    bring(2)
    assert evaluate_train_dir(from_outside(run), line=print) == 1
    assert evaluate_train_dir(from_outside(run, label_loss="CrossEntropyLoss"), line=print) == 0, "it is the run's"
    with pytest.raises(UserError, match="evaluations by another loss") as caught:
        evaluate_train_dir(from_outside(run, label_loss="HingeLoss"), line=print)
    assert "--label_loss=CrossEntropyLoss" in caught.value.found and "--eval_name" in caught.value.change
    assert evaluate_train_dir(from_outside(run, label_loss="HingeLoss", eval_name="hinge"), line=print) == 1
    with pytest.raises(UserError, match="eval_hinge has evaluations by another loss"):
        evaluate_train_dir(from_outside(run, eval_name="hinge"), line=print)
    (of_run,), (of_hinge,) = read_metrics(run.train_dir), read_metrics(run.train_dir, "hinge")
    assert of_run["loss"] != of_hinge["loss"] and of_run["hit_at_1"] == of_hinge["hit_at_1"]
    assert list(Path(run.train_dir, "eval_hinge").glob("events.out.tfevents.*"))


def test_numbers_of_other_data_do_not_stand_among_those_of_the_run(
    run: ExperimentOptions, bring: Callable[..., None]
) -> None:
    bring(2)
    both, one = (str(Path(run.train_data_pattern).parent / name) for name in ("validation-*", "validation-0"))
    own = dataclasses.replace(run, eval_data_pattern=both)
    write_experiment(own)
    outside = from_outside(run)
    # Its own evaluator has not come to anything yet.
    with pytest.raises(UserError, match="evaluations of other data") as caught:
        evaluate_train_dir(dataclasses.replace(outside, eval_data_pattern=one), line=print)
    assert "its own evaluator" in caught.value.found and both in caught.value.found
    named = dataclasses.replace(outside, eval_data_pattern=one, eval_name="part")
    assert evaluate_train_dir(named, line=print) == 1
    assert evaluated_steps(run.train_dir) == set() and not Path(run.train_dir, "eval", "watched.json").exists()
    # Under another name of its folder it is the same data.
    write_run_state(run.train_dir, RunState.EVALUATING, 2)
    assert run_evaluation(own, line=lambda line: None) == 1
    moved = Path(run.train_data_pattern).parent.with_name("mounted")
    moved.symlink_to(Path(both).parent)
    write_run_state(run.train_dir, RunState.SUCCEEDED, 2)
    assert evaluate_train_dir(dataclasses.replace(outside, eval_data_pattern=f"{moved}/validation-*"), line=print) == 0
    # A run that goes on with other validation data has its last checkpoint evaluated on these.
    write_run_state(run.train_dir, RunState.EVALUATING, 2)
    assert run_evaluation(dataclasses.replace(own, eval_data_pattern=one), line=lambda line: None) == 1
    assert [row["examples"] for row in read_metrics(run.train_dir)] == [10, 6]


@pytest.mark.parametrize("name", ["a/b", "..", "a b"])
def test_the_name_of_an_evaluation_is_part_of_a_folders(run: ExperimentOptions, name: str) -> None:
    with pytest.raises(UserError, match="part of a folder's"):
        from_outside(run, eval_name=name)


@pytest.mark.parametrize(
    ("name", "message"),
    [("Hinge", "No label loss 'Hinge'"), ("nowhere:Loss", "No module"), ("SoftmaxLoss", "SoftmaxLoss does not fit")],
)
def test_a_loss_that_is_not_there_or_does_not_fit_is_refused(
    run: ExperimentOptions, bring: Callable[..., None], name: str, message: str
) -> None:
    bring(2)
    with pytest.raises(UserError, match=message) as caught:
        evaluate_train_dir(from_outside(run, label_loss=name), line=print)
    assert "--label_loss" in caught.value.change and steps_of(run) == []


def test_a_loss_beside_one_of_the_models_own_is_refused_and_without_it_that_one_is_used(run: ExperimentOptions) -> None:
    own = dataclasses.replace(run, model="tests.estimators.sample_models:NanLossInStep10")
    write_experiment(own)
    assert evaluate_train_dir(from_outside(own), line=print) == 0, "there is no checkpoint yet"
    with pytest.raises(UserError, match="returns a loss of its own, so --label_loss would do nothing"):
        evaluate_train_dir(from_outside(own, label_loss="CrossEntropyLoss"), line=print)


def test_more_workers_than_examples_are_refused(run: ExperimentOptions) -> None:
    prepare_evaluation(from_outside(run, eval_workers=10), line=print)
    with pytest.raises(UserError) as caught:
        prepare_evaluation(from_outside(run, eval_workers=11), line=print)
    assert "--eval_workers=11" in caught.value.asked and "10 examples" in caught.value.found
    assert "--eval_workers" in caught.value.change


def test_beside_a_run_the_data_is_that_of_the_run(run: ExperimentOptions, bring: Callable[..., None]) -> None:
    bring(2)
    write_run_state(run.train_dir, RunState.EVALUATING, 2)
    pattern = str(Path(run.train_data_pattern).parent / "validation-*")
    assert run_evaluation(dataclasses.replace(run, eval_data_pattern=pattern), line=lambda line: None) == 1
    latest = latest_checkpoint(run.train_dir)
    assert latest is not None and evaluated_steps(run.train_dir) == {latest.step}
    assert json.loads(Path(run.train_dir, "eval", "metrics.jsonl").read_text())["examples"] == 10
