from __future__ import annotations

import pytest

from cvd_cluster.cluster_options import ClusterOptions
from cvd_cluster.supervision_options import SupervisionOptions
from estimators.errors import UserError

WORKERS = ClusterOptions(strategy="multi_worker_mirrored", num_workers=2)


def test_the_defaults_and_a_limit_of_the_evaluation_fit_every_strategy() -> None:
    for cluster in (ClusterOptions(), ClusterOptions(strategy="mirrored"), WORKERS):
        SupervisionOptions(final_evaluation_timeout_secs=60.0).check_fits(cluster)
    SupervisionOptions(min_workers=2, max_generations=0, max_process_restarts=0).check_fits(WORKERS)


@pytest.mark.parametrize(
    ("values", "cluster", "told"),
    [
        ({"max_generations": 3}, ClusterOptions(), ["--strategy=local", "--max_generations=3"]),
        ({"min_workers": 1}, ClusterOptions(strategy="mirrored"), ["--strategy=mirrored", "--min_workers=1"]),
        ({"min_workers": 3}, WORKERS, ["--min_workers=3", "--num_workers=2"]),
    ],
)
def test_what_a_strategy_has_no_use_for_is_refused_with_its_flag(
    values: dict[str, int], cluster: ClusterOptions, told: list[str]
) -> None:
    with pytest.raises(UserError) as caught:
        SupervisionOptions(**values).check_fits(cluster)
    assert all(part in str(caught.value) for part in told), str(caught.value)


@pytest.mark.parametrize(
    "values",
    [
        {"max_process_restarts": -1},
        {"max_generations": -1},
        {"min_workers": 0},
        {"orphan_timeout_secs": 5.0},
        {"hang_timeout_secs": 0.0},
        {"final_evaluation_timeout_secs": 0.0},
    ],
)
def test_what_is_out_of_range_is_told_with_its_flag(values: dict[str, float]) -> None:
    with pytest.raises(UserError, match=f"--{next(iter(values))}"):
        SupervisionOptions(**values)  # type: ignore[arg-type]
