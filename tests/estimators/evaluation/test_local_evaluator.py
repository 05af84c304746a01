"""The numbers of one checkpoint, and the lines that tell them."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from estimators.checkpoints.checkpoint_files import (
    list_checkpoints,
    read_metrics,
)
from estimators.errors import DataError, UserError
from estimators.evaluation.checkpoint_evaluator import UnreadableCheckpointError, begin_report
from estimators.evaluation.local_evaluator import LocalEvaluator
from estimators.experiment_options import ExperimentOptions
from estimators.inputs.data_check import DataFiles
from estimators.train_dir.run_state import RunState, write_run_state
from tests.estimators.drawn_records import record, write_file
from tests.estimators.evaluated_run import evaluate, steps_of, validation

pytestmark = pytest.mark.filterwarnings(r"ignore:`tf\.layers\.")
# The pictures of the validation files: grey, and label by turns.
GREYS = [*range(30, 36), *range(200, 204)]


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


def test_a_checkpoint_of_other_variables_is_told(run: ExperimentOptions, bring: Callable[..., None]) -> None:
    bring(2)
    with pytest.raises(UnreadableCheckpointError) as caught:
        evaluate(dataclasses.replace(run, model="CnnModel"), run_once=True)
    assert "model.ckpt-2" in caught.value.asked and "not found in checkpoint" in caught.value.found


@pytest.mark.parametrize(("factor", "told"), [(7.0, "to "), (-1.0, "from -")])
def test_predictions_that_are_no_probabilities_are_told(
    run: ExperimentOptions, bring: Callable[..., None], factor: float, told: str
) -> None:
    bring(2)
    evaluator = LocalEvaluator(run, validation(run), batch_size=4, report=begin_report(run.train_dir, print))
    graph = evaluator._graph
    predictions, *others = graph._fetches
    with graph._graph.as_default():
        graph._fetches = (predictions * factor, *others)
    with pytest.raises(UserError, match="predicts values that are not probabilities") as caught:
        evaluator.evaluate(list_checkpoints(run.train_dir)[0])
    assert told in caught.value.found and "sigmoid" in caught.value.change


def test_predictions_that_are_nan_are_told_and_not_ranked(run: ExperimentOptions, bring: Callable[..., None]) -> None:
    bring(2)
    data = validation(run)
    report = begin_report(run.train_dir, print)
    evaluator = LocalEvaluator(run, data, batch_size=4, report=report)
    graph = evaluator._graph
    predictions, *others = graph._fetches
    with graph._graph.as_default():
        graph._fetches = (predictions * float("nan"), *others)
    with pytest.raises(UserError, match="of step 2 are NaN") as told:
        evaluator.evaluate(list_checkpoints(run.train_dir)[0])
    assert "4 of 4 in one batch" in told.value.found
