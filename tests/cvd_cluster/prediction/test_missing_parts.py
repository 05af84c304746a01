"""How many predict and read on a cluster that others use too."""

from __future__ import annotations

import pytest
import ray

from cvd_cluster.prediction.missing_parts import _plan
from cvd_cluster.prediction.prediction_options import PredictionOptions
from cvd_cluster.ray_session import RaySession

OPTIONS = PredictionOptions(input_data_pattern="/in", output_file="/out.csv", model_dir="/model")


@pytest.mark.parametrize(
    ("free", "started_here", "reader_cpus"), [(8.0, False, 0.5), (4.0, False, 0.0), (0.0, False, 0.0), (4.0, True, 0.5)]
)
def test_where_predictors_wait_for_others_reading_does_not_wait_behind_them(
    monkeypatch: pytest.MonkeyPatch, free: float, started_here: bool, reader_cpus: float
) -> None:
    monkeypatch.setattr(ray, "cluster_resources", lambda: {"CPU": 8.0})
    monkeypatch.setattr(ray, "available_resources", lambda: {"CPU": free} if free else {})
    lines: list[str] = []
    plan = _plan(OPTIONS, RaySession(started_here, "here:1"), 8, 100, lines.append)
    assert (plan.predictors, plan.reader_cpus) == (7, reader_cpus)
    assert bool(lines) is (free < 8)
