"""The autoscaler of a cluster that was joined: what it may bring up, read from the file that it obeys.

Ray tells this nobody: what its control service holds of the autoscaler are the nodes there are and the demand for more.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import yaml

from cvd_cluster.node_types import nodes_for, says_what_machines_have
from cvd_cluster.topology import Demand

# A machine of a cloud needs minutes for its boot, 3 GB of packages and a GPU's driver.
_PATIENCE_SECS = 900.0
_LOOK_SECS = 30.0
_HEAD = "node:__internal_head__"  # what Ray's head has, and no other node


@dataclass(frozen=True)
class Autoscaler:
    """What brings up machines for a cluster.

    Attributes:
      path: of the file that it obeys, on the head.
      config: the content of that file.
    """

    path: str
    config: Mapping[str, Any]

    def check_can_hold(self, tasks: Sequence[Demand]) -> None:
        """Raises InfeasibleError if no number of machines that the file allows holds all tasks."""
        nodes_for(tasks, self.config, self.path)


def autoscaler_of_cluster() -> Autoscaler | None:
    """The autoscaler of the cluster that this process is connected to.

    Returns:
      None if it has none that can be seen: no `ray up`, one in a container of its own (KubeRay), or one whose file does
      not say what its machines have, as those of one's own.
    """
    import ray

    context = ray.get_runtime_context()
    head = next((node["NodeID"] for node in ray.nodes() if node["Alive"] and _HEAD in node["Resources"]), None)
    if head is None:
        return None
    if head == context.get_node_id():
        found = _obeyed_here(context.gcs_address)
    else:
        found = _on_node(head, _obeyed_here, context.gcs_address)
    if found is None:
        return None
    path, text = found
    try:
        config = yaml.safe_load(text)
    except yaml.YAMLError:  # half written, or by hand
        return None
    return Autoscaler(path, config) if isinstance(config, dict) and says_what_machines_have(config) else None


def patience(asked: float | None, autoscaler: Autoscaler | None) -> float:
    """How many seconds are waited for nodes: what was asked for, or what machines need that can be brought up."""
    if asked is not None:
        return asked
    return _PATIENCE_SECS if autoscaler is not None else 0.0


def _obeyed_here(gcs_address: str) -> tuple[str, str] | None:
    """Path and content of the file of the autoscaler that runs on this machine for this cluster."""
    for process in psutil.process_iter(["cmdline", "username"]):
        arguments = process.info["cmdline"] or []
        if f"--gcs-address={gcs_address}" not in arguments:
            continue
        for argument in arguments:
            name, _, path = argument.partition("=")
            if name == "--autoscaling-config" and path:
                # No shell expands what stands behind "="; the home that is meant is that process's.
                home = f"~{process.info['username']}"
                with contextlib.suppress(OSError, RuntimeError):  # another's file; a user without a home
                    return path, Path(re.sub("^~(?=/)", home, path)).expanduser().read_text()
    return None


def _on_node(node: str, function: Callable[..., Any], *arguments: Any) -> Any:
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    place = NodeAffinitySchedulingStrategy(node, soft=False)
    call = ray.remote(num_cpus=0, max_retries=0)(function).options(scheduling_strategy=place).remote(*arguments)
    try:
        return ray.get(call, timeout=_LOOK_SECS)
    except (ray.exceptions.RayError, ray.exceptions.GetTimeoutError):
        return None  # a head that answers nothing is told elsewhere; here it only brings no machines
