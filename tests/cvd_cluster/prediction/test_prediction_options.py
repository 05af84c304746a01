"""Flags that contradict each other are refused before anything is looked at."""

from __future__ import annotations

import pytest

from cvd_cluster.prediction.prediction_options import PredictionOptions
from estimators.errors import UserError


def test_a_model_must_be_named():
    with pytest.raises(UserError, match="No model to predict with"):
        PredictionOptions(input_data_pattern="/data/*", output_file="/tmp/out.csv")


@pytest.mark.parametrize("output", [{}, {"output_file": "/tmp/out.csv", "output_path": "/tmp/out"}])
def test_exactly_one_output_must_be_named(output):
    with pytest.raises(UserError, match="Exactly one output"):
        PredictionOptions(input_data_pattern="/data/*", train_dir="/m", **output)


@pytest.mark.parametrize("wrong", [{"batch_size": 0}, {"max_worker_count": -1}, {"num_readers": 0}])
def test_counts_have_a_lower_bound(wrong):
    with pytest.raises(UserError, match="out of range"):
        PredictionOptions(input_data_pattern="/data/*", output_file="/tmp/out.csv", train_dir="/m", **wrong)
