"""Finds room for all tasks of a run, all or nothing, and says what is missing instead of waiting for ever."""

from __future__ import annotations

import contextlib
import math
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import psutil

from cvd_cluster.autoscaler import Autoscaler
from cvd_cluster.embedded_ray import usable_cores
from cvd_cluster.ray_session import control_service_answers
from cvd_cluster.topology import Demand, bundles_for
from estimators.errors import InfeasibleError

# Resident memory of a process that has imported TensorFlow and trains a small model, measured: 0.5–0.6 GiB.
_BYTES_PER_TASK = 600 << 20
_POLL_SECS = 1.0


@dataclass(frozen=True)
class NodeCapacity:
    """What one node offers in all, used or not."""

    cpus: float
    gpus: float


def first_that_does_not_fit(tasks: Sequence[Demand], nodes: Sequence[NodeCapacity]) -> Demand | None:
    """Packs the tasks onto the nodes, the largest first, each onto the first node with room.

    Returns:
      The first task without room, or None if all fit.
    """
    free = [[node.cpus, node.gpus] for node in nodes]
    for task in sorted(tasks, key=lambda task: (task.gpus, task.cpus), reverse=True):
        for room in free:
            # Tolerates the rounding of fractions of a CPU.
            if room[0] + 1e-6 >= task.cpus and room[1] >= task.gpus:
                room[0] -= task.cpus
                room[1] -= task.gpus
                break
        else:
            return task
    return None


def _infeasible(
    tasks: Sequence[Demand], stuck: Demand, nodes: Sequence[NodeCapacity], waited: float
) -> InfeasibleError:
    cpus, gpus = sum(task.cpus for task in tasks), sum(task.gpus for task in tasks)
    alike = Counter(f"{node.cpus:g} CPUs and {node.gpus:g} GPUs" for node in nodes)
    each = ", ".join(text + (f" ({n} of these)" if n > 1 else "") for text, n in alike.items()) or "no node at all"
    roles = ", ".join(f"{task.name} ({task.cpus:g} CPUs, {task.gpus:g} GPUs)" for task in tasks)
    after = f" after {waited:.0f} s" if waited else ""
    why = "; `ray status` on the head says which machines did not come, and why (a quota?)" if waited else ""
    return InfeasibleError(
        "The cluster cannot hold this run",
        asked=f"{cpus:g} CPUs and {gpus:g} GPUs in all: {roles}",
        found=f"{len(nodes)} node(s){after}, with {each}; no room for {stuck.name}",
        change="--num_workers, --gpus_per_worker or --cpus_per_worker; or larger or more nodes, with "
        f"--placement_timeout_secs if they come up on demand{why}",
    )


def _busy(tasks: Sequence[Demand]) -> InfeasibleError:
    import ray

    free, there = ray.available_resources(), ray.cluster_resources()
    return InfeasibleError(
        "The cluster is large enough for this run, but busy",
        asked=", ".join(f"{task.name} ({task.cpus:g} CPUs, {task.gpus:g} GPUs)" for task in tasks),
        found=", ".join(f"{free.get(kind, 0):g} of {there.get(kind, 0):g} {kind}s free" for kind in ("CPU", "GPU")),
        change="nothing: the run itself waits for other work to end; or fewer workers, and this look again",
    )


def check_this_machine(tasks: Sequence[Demand]) -> None:
    """Refuses what a Ray on this machine could never hold. CPUs in all may be oversubscribed; the rest may not.

    Raises:
      InfeasibleError: one task wants more CPUs than there are, or all together more GPUs or memory than there is.
    """
    cores = float(usable_cores())
    gpus = float(_gpus_here()) if any(task.gpus for task in tasks) else 0.0
    widest = max(tasks, key=lambda task: task.cpus)
    stuck = first_that_does_not_fit(tasks, [NodeCapacity(float("inf"), gpus)])
    if widest.cpus > cores or stuck is not None:
        raise _infeasible(tasks, stuck or widest, [NodeCapacity(cores, gpus)], 0)
    available = psutil.virtual_memory().available
    if len(tasks) * _BYTES_PER_TASK > available:
        raise InfeasibleError(
            "This machine has not enough memory for this run",
            asked=f"{len(tasks)} processes, of about {_BYTES_PER_TASK >> 20} MiB each",
            found=f"{available >> 20} MiB free",
            change="--num_workers, --num_parameter_servers, or a cluster: set RAY_ADDRESS",
        )


def _gpus_here() -> int:
    from ray._private.accelerators import NvidiaGPUAcceleratorManager

    return int(NvidiaGPUAcceleratorManager.get_current_node_num_accelerators())


def nodes_there_are() -> list[NodeCapacity]:
    """Those of the cluster that this process is connected to."""
    import ray

    resources = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    return [NodeCapacity(entry.get("CPU", 0.0), entry.get("GPU", 0.0)) for entry in resources]


@contextlib.contextmanager
def placed(
    tasks: Sequence[Demand],
    *,
    timeout_secs: float,
    busy_secs: float = math.inf,
    autoscaler: Autoscaler | None = None,
    announce: Callable[[str], None],
) -> Iterator[Any]:
    """A placement group with one bundle a task, in the order of the tasks; removed at the end.

    `pg.ready()` never fails for what can never be placed, so that is checked first and for as long as is allowed.

    Args:
      tasks: of the run.
      timeout_secs: how long to wait for nodes that come up on demand; 0 does not.
      busy_secs: how long to wait for other work to end where the nodes are large enough.
      autoscaler: of the cluster, if it has one.
      announce: called with a line if there is something to wait for.

    Raises:
      InfeasibleError: the nodes do not offer enough, or do not have it free, in that time.
    """
    import ray
    from ray.util.placement_group import placement_group, remove_placement_group

    begun = time.monotonic()
    stuck = first_that_does_not_fit(tasks, nodes_there_are())
    if stuck is not None:
        if autoscaler is not None:
            autoscaler.check_can_hold(tasks)
        if not timeout_secs:
            raise _infeasible(tasks, stuck, nodes_there_are(), 0)
    # Asked for even if there is no room yet: this demand is what an autoscaler answers.
    group = placement_group(bundles_for(tasks), strategy="PACK")
    try:
        if stuck is not None:
            announce(
                f"no room for {stuck.name} ({stuck.cpus:g} CPUs, {stuck.gpus:g} GPUs) on the "
                f"{len(nodes_there_are())} nodes there are; waiting up to {timeout_secs:g} s for more"
            )
        said_busy, fits_since = False, begun
        while not group.wait(timeout_seconds=_POLL_SECS):
            now = time.monotonic()
            stuck = first_that_does_not_fit(tasks, nodes_there_are())
            if stuck is not None:
                fits_since = now
                if now - begun > timeout_secs:
                    raise _infeasible(tasks, stuck, nodes_there_are(), now - begun)
            elif now - fits_since > busy_secs:
                raise _busy(tasks)
            elif not said_busy and now - fits_since > 5:
                announce("the cluster is large enough but busy; waiting for other work on it to end")
                said_busy = True
        yield group
    finally:
        # Without its control service Ray would wait for it until it ends this process.
        if ray.is_initialized() and control_service_answers():
            remove_placement_group(group)
