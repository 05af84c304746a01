"""A distributed run up to the moment before it writes anything: planned, Ray joined or started, placed, all checked."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cvd_cluster.autoscaler import autoscaler_of_cluster, patience
from cvd_cluster.cluster_options import ClusterOptions
from cvd_cluster.placement import check_this_machine, placed
from cvd_cluster.preflight import LookAtNodes, NodeLook, NodeReport
from cvd_cluster.ray_session import ray_session, starts_ray_here
from cvd_cluster.topology import Task, make_topology
from estimators.experiment_options import ExperimentOptions
from estimators.model_graph.graph_check import graph_checked_beside
from estimators.preparation import prepare_run
from estimators.training_plan import TrainingPlan


@dataclass(frozen=True)
class CheckedRun:
    """A run that can begin.

    Attributes:
      plan: what all tasks share.
      tasks: in the order of the placement group's bundles.
      group: Ray's placement group, with a bundle a task.
      placement_timeout_secs: how long it waits for nodes, also when one is lost.
      nodes: task -> what its node said of itself; {} if all are on this machine, in a Ray of this run's own.
      look_at_nodes: to be called when other nodes may have come.
    """

    plan: TrainingPlan
    tasks: tuple[Task, ...]
    group: Any
    placement_timeout_secs: float
    nodes: Mapping[Task, NodeReport]
    look_at_nodes: LookAtNodes


def planned_run(
    options: ExperimentOptions, cluster: ClusterOptions, *, start_new_model: bool, announce: Callable[[str], None]
) -> tuple[TrainingPlan, tuple[Task, ...]]:
    """Checks and plans a run as far as its files tell; starts nothing.

    Raises:
      UserError: something does not fit; DataError: a data file is damaged.
    """
    plan = prepare_run(
        options,
        strategy=cluster.strategy,
        num_workers=cluster.num_workers,
        # TensorFlow makes a replica of every GPU that a worker sees, if the strategy is synchronous.
        count_replicas=lambda: max(1, cluster.gpus_per_worker),
        start_new_model=start_new_model,
        announce=announce,
    )
    return plan, make_topology(cluster, with_evaluator=plan.eval_data is not None)


@contextlib.contextmanager
def checked_run(
    options: ExperimentOptions,
    cluster: ClusterOptions,
    *,
    start_new_model: bool,
    busy_secs: float = math.inf,
    announce: Callable[[str], None],
) -> Iterator[CheckedRun]:
    """Joins or starts Ray and finds room, for as long as the block runs; meanwhile the graph is built to check it.

    Args:
      options: of the run.
      cluster: the tasks and what each gets.
      start_new_model: whether train_dir is to be emptied.
      busy_secs: how long to wait for other work on a cluster that is large enough.
      announce: called with each line for people.

    Raises:
      HarnessError: with a message for people.
    """
    plan, tasks = planned_run(options, cluster, start_new_model=start_new_model, announce=announce)
    if starts_ray_here():
        check_this_machine(tasks)
    cpus, gpus = sum(task.cpus for task in tasks), sum(task.gpus for task in tasks)
    with (
        graph_checked_beside(options, warm_start_from=plan.warm_start_from) as graph_is_built,
        ray_session(cpus_needed=cpus, gpus_needed=gpus, announce=announce) as session,
    ):
        autoscaler = None if session.started_here else autoscaler_of_cluster()
        timeout_secs = patience(cluster.placement_timeout_secs, autoscaler)
        with placed(
            tasks, timeout_secs=timeout_secs, busy_secs=busy_secs, autoscaler=autoscaler, announce=announce
        ) as group:
            look: LookAtNodes = _look_at_none if session.started_here else NodeLook(options, plan)
            nodes = look(tasks, group)
            graph_is_built()
            yield CheckedRun(plan, tasks, group, timeout_secs, nodes, look)


def _look_at_none(
    tasks: Sequence[Task], group: Any, pause: Callable[[], object] = lambda: None, /
) -> Mapping[Task, NodeReport]:
    return {}
