"""Which machines a cluster file brings up for a run: asked of Ray's own autoscaler, in this process."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

from cvd_cluster.cluster_file import ray_speaks_into
from cvd_cluster.topology import Demand, bundles_for
from estimators.errors import InfeasibleError


def nodes_for(tasks: Sequence[Demand], config: Mapping[str, Any], path: str) -> dict[str, int] | None:
    """The machines that hold all tasks at once.

    Args:
      tasks: all processes of the run.
      config: of read_cluster_file.
      path: of that file, for the message.

    Returns:
      Node type -> how many of it, the head only if it takes work; None if the file does not say what its machines have,
      as on-prem ones do not.

    Raises:
      InfeasibleError: no number of machines that the file allows holds them.
    """
    from ray.autoscaler.v2.instance_manager.config import AutoscalingConfig
    from ray.autoscaler.v2.scheduler import ResourceDemandScheduler, SchedulingRequest
    from ray.autoscaler.v2.utils import ResourceRequestUtil
    from ray.core.generated.autoscaler_pb2 import GangResourceRequest

    described = config.get("available_node_types", {}).values()
    # Of a machine that does not say its CPUs, not even 0, Ray looks when it is up, or asks the cloud.
    if not all("CPU" in (kind.get("resources") or {}) for kind in described):
        return None
    with ray_speaks_into(io.StringIO()):
        autoscaling = AutoscalingConfig(dict(config), skip_content_hash=True)
    kinds, most = autoscaling.get_node_type_configs(), autoscaling.get_max_num_nodes()
    head = autoscaling.get_head_node_type()
    if not kinds[head].resources.get("CPU"):
        del kinds[head]
        most -= 1
    answer = ResourceDemandScheduler().schedule(
        SchedulingRequest(
            disable_launch_config_check=True,
            node_type_configs=kinds,
            max_num_nodes=most,
            gang_resource_requests=[
                GangResourceRequest(requests=[ResourceRequestUtil.make(bundle) for bundle in bundles_for(tasks)])
            ],
        )
    )
    if answer.infeasible_gang_resource_requests:
        offers = [f"{kind.max_worker_nodes} {name} ({_resources(kind.resources)})" for name, kind in kinds.items()]
        raise InfeasibleError(
            "This cluster can never hold this run",
            asked=f"{sum(task.cpus for task in tasks):g} CPUs and {sum(task.gpus for task in tasks):g} GPUs in all: "
            + ", ".join(f"{task.name} ({task.cpus:g} CPUs, {task.gpus:g} GPUs)" for task in tasks),
            found=f"{path} allows at most {most} machines in all, of these: {', '.join(offers)}",
            change="--num_workers, --gpus_per_worker or --cpus_per_worker; or max_workers and the node types in "
            "that file",
        )
    return {launch.instance_type: launch.count for launch in answer.to_launch}


def says_what_machines_have(config: Mapping[str, Any]) -> bool:
    """False if no node type says CPU: then nothing brings machines up, or nobody knows which."""
    return any((kind.get("resources") or {}).get("CPU") for kind in config.get("available_node_types", {}).values())


def _resources(resources: Mapping[str, float]) -> str:
    return ", ".join(f"{value:g} {name}{'s' * (value != 1)}" for name, value in resources.items()) or "unknown"
