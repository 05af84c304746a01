from __future__ import annotations

import dataclasses
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from estimators.checkpoint_evaluator import UnreadableCheckpointError, begin_report
from estimators.checkpoints import (
    Checkpoint,
    awaits_evaluation,
    evaluated_steps,
    failed_steps,
    latest_checkpoint,
    list_checkpoints,
    prune,
    read_metrics,
)
from estimators.continuous_evaluation import evaluate_continuously
from estimators.data_check import DataFiles, check_data
from estimators.errors import DataError, UserError
from estimators.evaluation_run import EvaluationOptions, evaluate_train_dir, prepare_evaluation, run_evaluation
from estimators.experiment_options import ExperimentOptions
from estimators.failed_evaluations import check_none_failed
from estimators.local_evaluator import LocalEvaluator
from estimators.metrics import EvaluationMetrics, EvaluationResult
from estimators.run_state import RunState, write_run_state
from tests.estimators.drawn_records import record, write_file
from tests.estimators.small_run import small_options, train

pytestmark = pytest.mark.filterwarnings(r"ignore:`tf\.layers\.")
STEPS = [0, 2, 4, 6]
# The pictures of the validation files: grey, and label by turns.
GREYS = [*range(30, 36), *range(200, 204)]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> ExperimentOptions:
    """Of a run with a checkpoint of each of the steps 0, 2, 4 and 6."""
    options = small_options(tmp_path_factory.mktemp("evaluation"), max_steps=6, save_checkpoints_steps=2)
    train(options)
    return options


@pytest.fixture
def run(finished: ExperimentOptions, tmp_path: Path) -> ExperimentOptions:
    """A train_dir as it is before there is a checkpoint."""
    options = dataclasses.replace(finished, train_dir=str(tmp_path / "run"))
    Path(options.train_dir).mkdir()
    shutil.copy(f"{finished.train_dir}/experiment.json", options.train_dir)
    return options


@pytest.fixture
def bring(finished: ExperimentOptions, run: ExperimentOptions) -> Callable[..., None]:
    """Puts checkpoints of these steps into the train_dir."""

    def copy(*steps: int) -> None:
        for step in steps:
            for path in Path(finished.train_dir).glob(f"model.ckpt-{step}.*"):
                shutil.copy(path, run.train_dir)

    return copy


def validation(options: ExperimentOptions) -> DataFiles:
    pattern = str(Path(options.train_data_pattern).parent / "validation-*")
    return check_data(pattern, flag="eval_data_pattern", num_classes=2, on_bad_record="fail")


def evaluate(options: ExperimentOptions, *, batch_size: int = 4, **how: Any) -> tuple[int, list[str]]:
    lines: list[str] = []

    def never(seconds: float) -> None:
        raise AssertionError("there is nothing to wait for")

    def line(text: str) -> None:
        lines.append(text)
        assert len(lines) < 100, "it does not end"

    data = how.pop("data", None) or validation(options)
    report = begin_report(options.train_dir, line)
    evaluator = LocalEvaluator(options, data, batch_size=batch_size, report=report)
    return evaluate_continuously(options.train_dir, evaluator, report, **{"sleep": never, **how}), lines


def steps_of(options: ExperimentOptions) -> list[int]:
    return [row["global_step"] for row in read_metrics(options.train_dir)]


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


def test_lines_have_the_form_of_2017(run: ExperimentOptions, bring: Callable[..., None]) -> None:
    bring(2)
    _, lines = evaluate(run, run_once=True)
    number = r"\d+\.\d{3}"
    batch = (
        rf"examples_processed: (\d+) \| global_step 2 \| Batch Hit@1: {number} \| Batch PERR: {number} \| "
        rf"Batch Loss: {number} \| Examples_per_sec: {number}"
    )
    matches = [re.fullmatch(batch, line) for line in lines[:3]]
    assert [match and match[1] for match in matches] == ["4", "8", "10"]
    assert re.fullmatch(
        rf"epoch/eval number 2 \| Avg_Hit@1: {number} \| Avg_PERR: {number} \| MAP: {number} \| GAP: {number} \| "
        rf"Avg_Loss: {number}",
        lines[3],
    )


def test_metrics_are_those_of_the_checkpoints_variables(run: ExperimentOptions, bring: Callable[..., None]) -> None:
    bring(0, 6)
    write_run_state(run.train_dir, RunState.SUCCEEDED, 6)
    evaluate(run)
    labels = np.array(GREYS) % 2
    for row, checkpoint in zip(read_metrics(run.train_dir), list_checkpoints(run.train_dir), strict=True):
        values = tf.train.load_checkpoint(checkpoint.prefix)
        logits = (np.array(GREYS) / 127.5 - 1) * values.get_tensor("weights").sum() + values.get_tensor("biases")
        p = 1 / (1 + np.exp(-logits))
        assert row["global_step"] == checkpoint.step and row["examples"] == 10
        assert row["hit_at_1"] == pytest.approx(((p > 0.5) == labels).mean())
        loss = -np.where(labels, np.log(p + 1e-5), np.log(1 - p + 1e-5)).mean()
        assert row["loss"] == pytest.approx(loss, rel=1e-4)


def test_the_size_of_the_batches_does_not_matter(run: ExperimentOptions, bring: Callable[..., None]) -> None:
    bring(6)
    rows = []
    for batch_size in (1, 3, 100):
        evaluate(run, run_once=True, batch_size=batch_size)
        rows.append({name: value for name, value in read_metrics(run.train_dir)[-1].items() if name != "time"})
        Path(run.train_dir, "eval", "metrics.jsonl").unlink()
    assert rows[0] == pytest.approx(rows[1], rel=1e-5) and rows[1] == pytest.approx(rows[2], rel=1e-5)


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


def test_a_bad_record_ends_evaluation_or_is_skipped_and_counted(
    run: ExperimentOptions, bring: Callable[..., None], tmp_path: Path
) -> None:
    bring(2)
    path = write_file(tmp_path / "validation", [record(30), record(31, label=5), record(32)])
    data = DataFiles((path,), (3,))
    with pytest.raises(DataError) as caught:
        evaluate(run, run_once=True, data=data)
    assert "31.jpg" in caught.value.found and path in caught.value.found
    assert "--eval_data_pattern" in caught.value.change and steps_of(run) == []

    done, lines = evaluate(dataclasses.replace(run, on_bad_record="skip"), run_once=True, data=data)
    assert done == 1 and read_metrics(run.train_dir)[-1]["examples"] == 2
    assert [line for line in lines if line.startswith("skipped a bad record: 31.jpg")]
    assert [line for line in lines if line.startswith("bad records skipped: 1")]


def test_from_outside_the_model_and_its_options_come_from_the_train_dir(
    run: ExperimentOptions, bring: Callable[..., None]
) -> None:
    bring(2, 4)
    pattern = str(Path(run.train_data_pattern).parent / "validation-0")
    lines: list[str] = []
    outside = EvaluationOptions(train_dir=run.train_dir, eval_data_pattern=pattern, run_once=True)
    assert evaluate_train_dir(outside, line=lines.append) == 1
    assert evaluated_steps(run.train_dir) == {4} and read_metrics(run.train_dir)[0]["examples"] == 6


def from_outside(options: ExperimentOptions, **values: object) -> EvaluationOptions:
    pattern = str(Path(options.train_data_pattern).parent / "validation-*")
    return EvaluationOptions(train_dir=options.train_dir, eval_data_pattern=pattern, run_once=True, **values)  # type: ignore[arg-type]


def test_the_model_may_be_named_if_it_is_the_right_one(run: ExperimentOptions, bring: Callable[..., None]) -> None:
    bring(2)
    assert evaluate_train_dir(from_outside(run, model="LogisticModel"), line=print) == 1
    with pytest.raises(UserError) as caught:
        evaluate_train_dir(from_outside(run, model="CnnModel"), line=print)
    error = caught.value
    assert error.asked == "--model=CnnModel" and "--model=LogisticModel" in error.found
    assert f"{run.train_dir}/experiment.json" in error.found and "leave --model out" in error.change


def test_another_loss_can_be_asked_for(run: ExperimentOptions, bring: Callable[..., None]) -> None:
    bring(2)
    losses = []
    for name in (None, "CrossEntropyLoss", "HingeLoss"):
        assert evaluate_train_dir(from_outside(run, label_loss=name), line=print) == 1
        losses.append(read_metrics(run.train_dir)[-1]["loss"])
        Path(run.train_dir, "eval", "metrics.jsonl").unlink()
    assert losses[0] == losses[1] != losses[2]


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


def test_more_workers_than_examples_are_refused(run: ExperimentOptions) -> None:
    prepare_evaluation(from_outside(run, eval_workers=10), line=print)
    with pytest.raises(UserError) as caught:
        prepare_evaluation(from_outside(run, eval_workers=11), line=print)
    assert "--eval_workers=11" in caught.value.asked and "10 examples" in caught.value.found
    assert "--eval_workers" in caught.value.change


def test_gpus_are_set_aside_for_several_workers_only(run: ExperimentOptions) -> None:
    assert from_outside(run, eval_workers=2, gpus_per_worker=1)
    with pytest.raises(UserError, match="--gpus_per_worker is for several"):
        from_outside(run, gpus_per_worker=1)


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


def test_a_checkpoint_of_other_variables_is_told(run: ExperimentOptions, bring: Callable[..., None]) -> None:
    bring(2)
    with pytest.raises(UnreadableCheckpointError) as caught:
        evaluate(dataclasses.replace(run, model="CnnModel"), run_once=True)
    assert "model.ckpt-2" in caught.value.asked and "not found in checkpoint" in caught.value.found


def test_beside_a_run_the_data_is_that_of_the_run(run: ExperimentOptions, bring: Callable[..., None]) -> None:
    bring(2)
    write_run_state(run.train_dir, RunState.EVALUATING, 2)
    pattern = str(Path(run.train_data_pattern).parent / "validation-*")
    assert run_evaluation(dataclasses.replace(run, eval_data_pattern=pattern), line=lambda line: None) == 1
    latest = latest_checkpoint(run.train_dir)
    assert latest is not None and evaluated_steps(run.train_dir) == {latest.step}
    assert json.loads(Path(run.train_dir, "eval", "metrics.jsonl").read_text())["examples"] == 10


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


def test_an_evaluator_says_that_it_is_alive(run: ExperimentOptions) -> None:
    alive: list[bool] = []
    report = begin_report(run.train_dir, print, lambda: alive.append(True))
    for _ in range(5):
        report.beat()
    assert len(alive) == 1, "not more than once a second"
