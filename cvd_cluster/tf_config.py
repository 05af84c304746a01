"""The TF_CONFIG of one task. Pure: no Ray, no TensorFlow."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cvd_cluster.topology import Task


def tf_config_for(task: Task, addresses: Mapping[Task, str]) -> dict[str, Any]:
    """What tf.estimator reads from the environment variable TF_CONFIG, as an object.

    Args:
      task: the task it is for.
      addresses: "host:port" of every task. An evaluator is left out of the cluster: it belongs to no training session,
        and the others must not wait for it.

    Returns:
      {"cluster": {"chief": […], "worker": […], "ps": […]}, "task": {"type": …, "index": …}}; for an evaluator {}.
    """
    if task.role == "evaluator":
        return {}
    cluster: dict[str, list[str]] = {}
    for member in sorted(addresses, key=lambda member: member.index):
        if member.role != "evaluator":
            cluster.setdefault(member.role, []).append(addresses[member])
    return {"cluster": cluster, "task": {"type": task.role, "index": task.index}}
