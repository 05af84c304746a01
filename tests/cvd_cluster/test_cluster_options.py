from __future__ import annotations

import pytest

from cvd_cluster.cluster_options import ClusterOptions
from estimators.errors import UserError


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"num_workers": 2}, ["--strategy=local", "--num_workers=2", "--strategy=multi_worker_mirrored"]),
        ({"num_parameter_servers": 1}, ["--strategy=local", "--num_parameter_servers=1"]),
        ({"strategy": "parameter_server"}, ["needs a parameter server", "--num_parameter_servers=1"]),
        (
            {"strategy": "multi_worker_mirrored", "num_parameter_servers": 1},
            ["has no parameter servers", "--num_parameter_servers=1"],
        ),
        ({"strategy": "mirorred"}, ["--strategy=mirorred", "local, mirrored, parameter_server, multi_worker_mirrored"]),
        ({"strategy": "mirrored", "num_workers": 2}, ["--strategy=mirrored", "--num_workers=2"]),
        ({"strategy": "mirrored", "num_replicas": 0}, ["--num_replicas=0", "at least 1"]),
        ({"num_replicas": 2}, ["--num_replicas=2", "--strategy=mirrored"]),
        ({"gpus_per_worker": 1}, ["--gpus_per_worker=1", "CUDA_VISIBLE_DEVICES"]),
        ({"cluster_file": "cluster.yaml"}, ["--strategy=local", "--cluster_file=cluster.yaml"]),
        ({"strategy": "mirrored", "placement_timeout_secs": 5.0}, ["--placement_timeout_secs=5.0"]),
        (
            {"strategy": "parameter_server", "num_parameter_servers": 1, "gpus_per_worker": 2},
            ["one GPU", "--gpus_per_worker=2"],
        ),
        ({"num_workers": 0}, ["--num_workers=0", "at least 1"]),
        ({"cpus_per_worker": 0.0}, ["--cpus_per_worker=0.0"]),
        ({"gpus_per_worker": -1}, ["--gpus_per_worker=-1"]),
        ({"placement_timeout_secs": -1.0}, ["--placement_timeout_secs=-1.0"]),
    ],
)
def test_what_contradicts_itself_or_is_out_of_range_is_told_with_its_flags(
    values: dict[str, object], told: list[str]
) -> None:
    with pytest.raises(UserError) as caught:
        ClusterOptions(**values)  # type: ignore[arg-type]
    assert all(part in str(caught.value) for part in told), str(caught.value)


def test_each_strategy_has_its_smallest_run() -> None:
    assert ClusterOptions().strategy == "local"
    assert ClusterOptions(strategy="mirrored", num_replicas=2).in_this_process
    ClusterOptions(strategy="parameter_server", num_parameter_servers=1)
    ClusterOptions(strategy="multi_worker_mirrored")
    ClusterOptions(strategy="multi_worker_mirrored", cpus_per_worker=0.25, gpus_per_worker=1)
