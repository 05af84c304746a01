"""Each flag of each command that has a range is refused outside of it, by name."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import pytest

from cvd_cluster.cluster_options import ClusterOptions
from cvd_cluster.job_options import SubmitOptions
from cvd_cluster.prediction.prediction_options import PredictionOptions
from cvd_cluster.supervision_options import SupervisionOptions
from estimators.conversion.photo_options import PhotoOptions
from estimators.conversion.synthetic_options import SyntheticOptions
from estimators.errors import UserError
from estimators.evaluation.evaluation_options import EvaluationOptions
from estimators.experiment_options import ExperimentOptions
from estimators.options import Options
from estimators.submission.json_to_csv_options import JsonToCsvOptions

# What each class must be given at least.
GIVEN: dict[type[Options], dict[str, object]] = {
    ExperimentOptions: {"train_dir": "/t", "train_data_pattern": "/d/*"},
    ClusterOptions: {},
    SupervisionOptions: {},
    EvaluationOptions: {"train_dir": "/t", "eval_data_pattern": "/d/*"},
    PredictionOptions: {"train_dir": "/t", "input_data_pattern": "/d/*", "output_file": "/o.csv"},
    JsonToCsvOptions: {"json_prediction_files_pattern": "/d/*", "csv_output_file": "/o.csv"},
    PhotoOptions: {"input": "/in", "output": "/out"},
    SyntheticOptions: {"synthetic": 10, "output": "/out"},
    SubmitOptions: {"address": "http://127.0.0.1:8265"},
}


def _outside(field: dataclasses.Field[object]) -> Iterator[object]:
    if field.metadata["choices"]:
        yield "none of them"
    if field.metadata["at_least"] is not None:
        yield field.metadata["at_least"] - 1
    if field.metadata["above"] is not None:
        yield field.metadata["above"]


CASES = [
    (cls, field.name, value)
    for cls in GIVEN
    for field in dataclasses.fields(cls)
    if field.metadata
    for value in _outside(field)
]


@pytest.mark.parametrize(("cls", "name", "value"), CASES, ids=[f"{name}={value}" for _, name, value in CASES])
def test_a_value_outside_of_its_range_is_told_with_its_flag(cls: type[Options], name: str, value: object) -> None:
    cls(**GIVEN[cls])
    with pytest.raises(UserError) as caught:
        cls(**{**GIVEN[cls], name: value})
    assert f"--{name}={value}" in caught.value.asked, str(caught.value)
