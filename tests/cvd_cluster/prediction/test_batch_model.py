"""Errors of TensorFlow: a record's own, or the machine's, which must never cost a record."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from cvd_cluster.prediction.batch_model import BatchModel
from estimators.errors import InfrastructureError, UserError


def model_that(run: Any) -> BatchModel:
    """One that computes a batch of four with `run` instead of a SavedModel."""
    made = BatchModel.__new__(BatchModel)
    made.batch_size, made._tf, made._run = 4, tf, run
    return made


def answers(batch: Any) -> Any:
    return list(batch), np.zeros((4, 1), np.int32), np.ones((4, 1), np.float32)


def test_records_that_tensorflow_stumbles_over_are_found_and_the_others_keep_their_places() -> None:
    def run(batch: Any) -> Any:
        if {b"bad", b"worse"} & set(batch):
            raise tf.errors.InvalidArgumentError(None, None, "no picture")
        return answers(batch)

    answer = model_that(run).answer([b"a", b"bad", b"b", b"worse"])
    assert answer.errors == [None, "no picture", None, "no picture"]
    assert answer.ids == [b"a", b"", b"b", b""]


def test_every_batch_has_the_full_size_and_each_record_its_place() -> None:
    # As a network, whose last bits depend on both.
    batches = []

    def run(batch: Any) -> Any:
        batches.append(list(batch))
        if b"bad" in batch:
            raise tf.errors.InvalidArgumentError(None, None, "no picture")
        return answers(batch)

    model = model_that(run)
    model.answer([b"a"])
    model.answer([None, b"a"])
    model.answer([b"bad", b"a", b"b"])
    assert {len(batch) for batch in batches} == {4}
    assert batches[0][0] == b"a" and batches[1][1] == b"a"
    assert batches[-1][1:3] == [b"a", b"b"], "what is left of a batch keeps its places"


def test_a_gpu_that_tensorflow_does_not_find_is_told_before_the_model_is_loaded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TF_DETERMINISTIC_OPS", "1")
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [])
    with pytest.raises(UserError, match="does not find the GPUs"):
        BatchModel("/nonexistent", 4, 1, on_gpu=True)


def test_memory_that_runs_out_is_told_and_blamed_on_no_record() -> None:
    def run(batch: Any) -> Any:
        raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating")

    with pytest.raises(InfrastructureError, match="could not compute a batch") as told:
        model_that(run).answer([b"a"])
    assert "ResourceExhaustedError: OOM when allocating" in told.value.found


def test_a_machine_that_fails_whatever_it_is_given_is_told_and_costs_no_record() -> None:
    def run(batch: Any) -> Any:
        raise tf.errors.UnknownError(None, None, "CUDNN_STATUS_EXECUTION_FAILED")

    with pytest.raises(InfrastructureError, match="could not compute a batch") as told:
        model_that(run).answer([b"a", b"b"])
    assert "CUDNN_STATUS_EXECUTION_FAILED" in told.value.found


def test_a_batch_that_fails_though_its_halves_do_not_is_told_and_costs_no_record() -> None:
    def run(batch: Any) -> Any:
        if {b"a", b"b"} <= set(batch):
            raise tf.errors.InvalidArgumentError(None, None, "not together")
        return answers(batch)

    with pytest.raises(InfrastructureError, match="could not compute a batch") as told:
        model_that(run).answer([b"a", b"b"])
    assert "not together" in told.value.found


def test_an_answer_that_is_no_number_is_an_error_of_its_record() -> None:
    def run(batch: Any) -> Any:
        ids, classes, probabilities = answers(batch)
        probabilities[1] = np.nan
        return ids, classes, probabilities

    assert model_that(run).answer([b"a", b"b", b"c"]).errors == [
        None,
        "the model's answer is not a finite number",
        None,
    ]
