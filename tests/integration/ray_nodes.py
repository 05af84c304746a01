"""A Ray cluster of several nodes on this machine, each with its own address and raylet, for tests that kill one.

As a program it is the cluster: it prints a JSON line for each node that it starts, reads "add CPUS" and "preempt HOST",
and ends with its stdin.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

from tests.integration.commands import command_environment

_ROOT = Path(__file__).parents[2]


class RayNodes:
    """The cluster as a test sees it.

    Attributes:
      environment: of a command that is to join it.
      mark: that all processes of the cluster carry.
    """

    def __init__(self, process: subprocess.Popen[str], environment: dict[str, str], mark: str) -> None:
        self._process, self.mark = process, mark
        self._raylets: dict[str, int] = {}
        head = self._read()
        self.environment = {**environment, "RAY_ADDRESS": str(head["address"])}

    def _read(self) -> dict[str, object]:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith("{"):
                node: dict[str, object] = json.loads(line)
                self._raylets[str(node["host"])] = int(str(node["raylet"]))
                return node
        raise AssertionError("the cluster ended")

    def add(self, cpus: int) -> str:
        """Starts another node; its address."""
        self._tell(f"add {cpus}")
        return str(self._read()["host"])

    def announce_preemption(self, host: str) -> None:
        """Tells Ray that a node will be taken away in a moment."""
        self._tell(f"preempt {host}")
        assert self._read()["host"] == host

    def _tell(self, order: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(order + "\n")
        self._process.stdin.flush()

    def kill_raylet(self, host: str) -> None:
        """SIGKILL to the raylet of a node."""
        os.kill(self._raylets[host], signal.SIGKILL)


@contextlib.contextmanager
def ray_nodes(mark: str) -> Iterator[RayNodes]:
    """A cluster with a head that has no CPUs.

    Args:
      mark: for all its processes, and for what they start.
    """
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32), "RAY_USAGE_STATS_ENABLED": "0"}
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.integration.ray_nodes"],
        env=command_environment(mark, token),
        cwd=_ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        yield RayNodes(process, token, mark)
    finally:
        family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
        assert process.stdin is not None
        process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(20)
        for one in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                one.kill()
        process.wait()


def main() -> None:
    """The cluster."""
    from ray import _raylet
    from ray.cluster_utils import Cluster

    hosts = (f"127.0.0.{number}" for number in range(2, 255))
    nodes: dict[str, Any] = {}

    def tell(host: str) -> None:
        (raylet,) = nodes[host].all_processes["raylet"]
        print(json.dumps({"host": host, "raylet": raylet.process.pid, "address": cluster.address}), flush=True)

    def add(cpus: int) -> None:
        host = next(hosts)
        nodes[host] = cluster.add_node(
            num_cpus=cpus, node_ip_address=host, object_store_memory=100 << 20, include_dashboard=False
        )
        tell(host)

    def preempt(host: str) -> None:
        # 2 is DRAIN_NODE_REASON_PREEMPTION of Ray's autoscaler.proto.
        raylet_module: Any = _raylet
        client = raylet_module.GcsClient(address=cluster.address)
        accepted, why = client.drain_node(nodes[host].node_id, 2, "taken away", int((time.time() + 3) * 1000))
        assert accepted, why
        tell(host)

    cluster = Cluster()
    add(0)
    for line in sys.stdin:
        order, _, value = line.strip().partition(" ")
        add(int(value)) if order == "add" else preempt(value)
    cluster.shutdown()


if __name__ == "__main__":
    main()
