"""A Ray cluster of several nodes on this machine, each with its own address and raylet, for tests that kill one.

As a program it is the cluster: it prints a JSON line for each node that it starts, and starts one for each line that it
reads. It ends with its stdin.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import psutil

_ROOT = Path(__file__).parents[2]


class RayNodes:
    """The cluster as a test sees it.

    Attributes:
      environment: of a command that is to join it.
    """

    def __init__(self, process: subprocess.Popen[str], environment: dict[str, str]) -> None:
        self._process = process
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
        assert self._process.stdin is not None
        self._process.stdin.write(f"{cpus}\n")
        self._process.stdin.flush()
        return str(self._read()["host"])

    def kill_raylet(self, host: str) -> None:
        """SIGKILL to the raylet of a node."""
        os.kill(self._raylets[host], signal.SIGKILL)


@contextlib.contextmanager
def ray_nodes(environment: Mapping[str, str]) -> Iterator[RayNodes]:
    """A cluster with a head that has no CPUs.

    Args:
      environment: of all its processes.
    """
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32), "RAY_USAGE_STATS_ENABLED": "0"}
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.integration.ray_nodes"],
        env={**environment, **token},
        cwd=_ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        yield RayNodes(process, token)
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
    from ray.cluster_utils import Cluster

    hosts = (f"127.0.0.{number}" for number in range(2, 255))

    def start(cluster: Cluster, cpus: int) -> None:
        host = next(hosts)
        node = cluster.add_node(
            num_cpus=cpus, node_ip_address=host, object_store_memory=100 << 20, include_dashboard=False
        )
        (raylet,) = node.all_processes["raylet"]
        print(json.dumps({"host": host, "raylet": raylet.process.pid, "address": cluster.address}), flush=True)

    cluster = Cluster()
    start(cluster, 0)
    for line in sys.stdin:
        start(cluster, int(line))
    cluster.shutdown()


if __name__ == "__main__":
    main()
