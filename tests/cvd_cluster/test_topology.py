from __future__ import annotations

from cvd_cluster.cluster_options import ClusterOptions
from cvd_cluster.topology import Task, make_topology


def test_the_chief_is_one_of_the_workers_that_were_asked_for() -> None:
    tasks = make_topology(ClusterOptions(strategy="multi_worker_mirrored", num_workers=3), with_evaluator=False)
    assert [task.name for task in tasks] == ["chief-0", "worker-0", "worker-1"]
    assert [task.worker_index for task in tasks] == [0, 1, 2] and all(task.trains for task in tasks)


def test_all_roles_stand_in_one_order_and_only_replicas_train_and_get_gpus() -> None:
    options = ClusterOptions(
        strategy="parameter_server", num_workers=2, num_parameter_servers=2, cpus_per_worker=1.5, gpus_per_worker=1
    )
    assert make_topology(options, with_evaluator=True) == (
        Task("chief", 0, 1.5, 1),
        Task("worker", 0, 1.5, 1),
        Task("ps", 0, 1.5, 0),
        Task("ps", 1, 1.5, 0),
        Task("evaluator", 0, 1.5, 0),
    )
    tasks = make_topology(options, with_evaluator=True)
    assert [task.trains for task in tasks] == [True, True, False, False, False]
    assert [task.worker_index for task in tasks] == [0, 1, -1, -1, -1]


def test_names_are_unique() -> None:
    options = ClusterOptions(strategy="parameter_server", num_workers=12, num_parameter_servers=3)
    tasks = make_topology(options, with_evaluator=True)
    assert len({task.name for task in tasks}) == len(tasks) == 16
