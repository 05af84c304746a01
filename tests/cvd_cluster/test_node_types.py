from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from cvd_cluster.cluster_options import ClusterOptions
from cvd_cluster.node_types import nodes_for
from cvd_cluster.topology import make_topology
from estimators.errors import InfeasibleError

_ROOT = Path(__file__).parents[2]


def prepared(name: str = "cluster.yaml") -> dict[str, Any]:
    from ray.autoscaler._private.util import prepare_config

    config: dict[str, Any] = prepare_config(yaml.safe_load((_ROOT / name).read_text()))
    return config


def nodes(config: dict[str, Any], *, with_evaluator: bool = False, **options: Any) -> dict[str, int] | None:
    cluster = ClusterOptions(**{"strategy": "multi_worker_mirrored", **options})
    return nodes_for(make_topology(cluster, with_evaluator=with_evaluator), config, "cluster.yaml")


@pytest.mark.parametrize("name", ["cluster.yaml", "launch/clusters/aws.yaml"])
def test_a_run_brings_the_machines_that_its_gpus_ask_for(name: str) -> None:
    config = prepared(name)
    assert nodes(config, num_workers=2, gpus_per_worker=1, cpus_per_worker=8) == {"gpu_1": 2}
    assert nodes(config, num_workers=2, gpus_per_worker=4, cpus_per_worker=8) == {"gpu_4": 2}
    assert nodes(config, num_workers=2, cpus_per_worker=8) == {"cpu": 2}
    assert nodes(config, num_workers=1, gpus_per_worker=4, cpus_per_worker=4, with_evaluator=True) == {"gpu_4": 1}


@pytest.mark.parametrize(
    ("options", "stuck"),
    [
        ({"cpus_per_worker": 1000}, "1000 CPUs"),
        ({"gpus_per_worker": 5}, "5 GPUs"),
        ({"num_workers": 5, "gpus_per_worker": 4, "cpus_per_worker": 8}, "20 GPUs"),
        # Eight machines of eight CPUs: max_workers, although there are three types of them. The head takes none.
        ({"num_workers": 9, "cpus_per_worker": 8}, "72 CPUs"),
    ],
)
def test_what_no_number_of_machines_can_hold_is_told_with_what_there_may_be(
    options: dict[str, Any], stuck: str
) -> None:
    config = prepared()
    if "gpus_per_worker" not in options:
        del config["available_node_types"]["gpu_4"]
    with pytest.raises(InfeasibleError) as caught:
        nodes(config, **options)
    said = str(caught.value)
    assert stuck in said and "at most 8 machines in all" in said and "8 gpu_1 (8 CPUs, 1 GPU)" in said


def test_a_head_that_takes_work_counts_as_one_machine() -> None:
    config = prepared()
    config["available_node_types"]["head"]["resources"] = {"CPU": 8}
    del config["available_node_types"]["gpu_4"], config["available_node_types"]["gpu_1"]
    assert nodes(config, num_workers=9, cpus_per_worker=8) == {"cpu": 8, "head": 1}
    with pytest.raises(InfeasibleError, match="never hold"):
        nodes(config, num_workers=10, cpus_per_worker=8)


def test_where_one_kind_of_machine_is_not_described_nothing_is_called_impossible() -> None:
    config = prepared("launch/clusters/aws.yaml")
    del config["available_node_types"]["gpu_4"]["resources"]  # Ray asks Amazon when it brings the cluster up
    assert nodes(config, num_workers=2, gpus_per_worker=4, cpus_per_worker=8) is None


def test_of_machines_of_ones_own_nothing_is_known_before_they_are_up() -> None:
    assert nodes(prepared("launch/clusters/on_prem.yaml"), num_workers=100) is None
