from __future__ import annotations

import json
import random

import pytest

from cvd_cluster.cluster_options import ClusterOptions
from cvd_cluster.tf_config import tf_config_for
from cvd_cluster.topology import Task, make_topology


def addresses(tasks: tuple[Task, ...]) -> dict[Task, str]:
    """In no order, as actors answer."""
    shuffled = list(tasks)
    random.Random(0).shuffle(shuffled)
    return {task: f"{task.name}:1" for task in shuffled}


def test_each_task_gets_the_same_cluster_and_its_own_place() -> None:
    options = ClusterOptions(strategy="parameter_server", num_workers=12, num_parameter_servers=2)
    tasks = make_topology(options, with_evaluator=True)
    cluster = {
        "chief": ["chief-0:1"],
        "worker": [f"worker-{i}:1" for i in range(11)],
        "ps": ["ps-0:1", "ps-1:1"],
    }
    for task in tasks[:-1]:
        made = tf_config_for(task, addresses(tasks))
        assert made == {"cluster": cluster, "task": {"type": task.role, "index": task.index}}
        assert json.loads(json.dumps(made)) == made


def test_an_evaluator_belongs_to_no_cluster() -> None:
    tasks = make_topology(ClusterOptions(strategy="multi_worker_mirrored", num_workers=2), with_evaluator=True)
    assert tf_config_for(tasks[-1], addresses(tasks)) == {}
    assert "evaluator" not in tf_config_for(tasks[0], addresses(tasks))["cluster"]


@pytest.mark.parametrize("num_workers", [1, 2])
def test_roles_that_a_run_does_not_have_are_not_named(num_workers: int) -> None:
    tasks = make_topology(
        ClusterOptions(strategy="multi_worker_mirrored", num_workers=num_workers), with_evaluator=False
    )
    cluster = tf_config_for(tasks[0], addresses(tasks))["cluster"]
    assert set(cluster) == ({"chief"} if num_workers == 1 else {"chief", "worker"})
