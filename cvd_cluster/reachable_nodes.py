"""Which nodes are really there: of a machine that lost its power or its network Ray learns after a minute only.

A raylet that is killed has its connections closed by its kernel, and Ray knows in a moment. A machine that is gone
closes nothing; Ray gives it up after five health checks without an answer, each of 10 s (`health_check_*` in
https://github.com/ray-project/ray/blob/master/src/ray/common/ray_config_def.h).
"""

from __future__ import annotations

import socket
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import ray

from cvd_cluster.ray_session import control_service_answers

_CONNECT_SECS = 2.0


def reachable_nodes() -> set[str]:
    """The ids of the nodes that live by Ray's account and whose raylet can be connected to."""
    return _reachable(_alive())


def unnoticed_nodes() -> set[str]:
    """The ids of those that live by Ray's account and cannot be connected to."""
    alive = _alive()
    return {node["NodeID"] for node in alive} - _reachable(alive)


def node_at(address: str) -> str | None:
    """The id of the node that can be connected to at this address; None if there is none."""
    return next(iter(_reachable(node for node in _alive() if node["NodeManagerAddress"] == address)), None)


def is_reachable(node_id: str) -> bool:
    """Whether this very node lives and can be connected to, not another that has come at its address."""
    return bool(_reachable(node for node in _alive() if node["NodeID"] == node_id))


def _alive() -> list[Mapping[str, Any]]:
    if not control_service_answers():
        return []  # to ask it would wait for it, and after a minute Ray ends this process without a word
    return [node for node in ray.nodes() if node["Alive"]]


def _reachable(nodes: Iterable[Mapping[str, Any]]) -> set[str]:
    asked = list(nodes)
    with ThreadPoolExecutor(max(1, len(asked))) as pool:
        return {node["NodeID"] for node, answers in zip(asked, pool.map(_answers, asked), strict=True) if answers}


def _answers(node: Mapping[str, Any]) -> bool:
    try:
        socket.create_connection((node["NodeManagerAddress"], node["NodeManagerPort"]), _CONNECT_SECS).close()
    except OSError:
        return False
    return True
