"""A flag that would do nothing is refused, and what makes it do something is named."""

from __future__ import annotations

from typing import Any

import pytest

from cvd_cluster.cluster_options import ClusterOptions
from cvd_cluster.prediction.prediction_options import PredictionOptions
from estimators.errors import UserError
from estimators.evaluation.evaluation_options import EvaluationOptions
from estimators.options import Options
from estimators.submission.json_to_csv_options import JsonToCsvOptions

PREDICT = {"input_data_pattern": "/d/*", "output_file": "/o.csv"}
TRAINED = {**PREDICT, "train_dir": "/run"}
EVALUATE = {"train_dir": "/run", "eval_data_pattern": "/d/*"}
CONVERT = {"json_prediction_files_pattern": "/d/*", "csv_output_file": "/o.csv"}


@pytest.mark.parametrize(
    ("options", "given", "idle", "beside", "otherwise"),
    [
        (PredictionOptions, {**TRAINED, "top_k": 20}, "top_k", "--output_format=category", "--output_format=top_k"),
        (JsonToCsvOptions, {**CONVERT, "top_k": 3}, "top_k", "--output_format=category", "--output_format=top_k"),
        (
            PredictionOptions,
            {**TRAINED, "default_category": 0, "on_bad_record": "quarantine"},
            "default_category",
            "--on_bad_record=quarantine",
            "--on_bad_record=default",
        ),
        (PredictionOptions, {**TRAINED, "model_dir": "/run/export/step_3"}, "train_dir", "--model_dir", "--model_dir"),
        (ClusterOptions, {"cpus_per_worker": 2.0}, "cpus_per_worker", "--strategy=local", "parameter_server"),
        (EvaluationOptions, {**EVALUATE, "placement_timeout_secs": 9.0}, "placement_timeout_secs", "=1", "at least 2"),
        (EvaluationOptions, {**EVALUATE, "gpus_per_worker": 1}, "gpus_per_worker", "=1", "at least 2"),
    ],
)
def test_it_is_refused(options: type[Options], given: dict[str, Any], idle: str, beside: str, otherwise: str) -> None:
    with pytest.raises(UserError, match=f"--{idle} does nothing beside ") as caught:
        options.from_flags(given)
    assert beside in caught.value.asked and f"leave --{idle} out" in caught.value.change
    assert otherwise in caught.value.change


@pytest.mark.parametrize(
    ("options", "given"),
    [
        (PredictionOptions, {**TRAINED, "top_k": 5, "output_format": "top_k"}),
        (PredictionOptions, {**TRAINED, "default_category": 1, "on_bad_record": "default"}),
        (PredictionOptions, {**PREDICT, "model_dir": "/run/export/step_3"}),
        (JsonToCsvOptions, {**CONVERT, "top_k": 3, "output_format": "top_k"}),
        (ClusterOptions, {"cpus_per_worker": 2.0, "strategy": "multi_worker_mirrored"}),
        (EvaluationOptions, {**EVALUATE, "placement_timeout_secs": 9.0, "eval_workers": 2, "gpus_per_worker": 1}),
    ],
)
def test_where_it_does_something_it_is_taken(options: type[Options], given: dict[str, Any]) -> None:
    options.from_flags(given)
