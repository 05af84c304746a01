"""A cluster as `ray up` leaves it in a cloud: a head that takes no work, and Ray's own autoscaler that brings machines
when work asks for them. They are raylets on addresses of this machine's loopback.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ray._private.node import Node
from ray._private.parameter import RayParams
from ray.autoscaler._private.fake_multi_node.node_provider import FAKE_HEAD_NODE_ID, FakeMultiNodeProvider
from ray.autoscaler.tags import TAG_RAY_NODE_NAME, TAG_RAY_USER_NODE_TYPE

from tests.integration.commands import command_environment, end_processes_with, free_port

_HEAD = "127.0.0.2"


class LoopbackMachines(FakeMultiNodeProvider):  # type: ignore[misc]  # Ray ships no types
    """Ray's provider for tests, but with an address for each machine. The autoscaler on the head makes one."""

    def _create_node_with_resources_and_labels(
        self, node_config: Any, tags: dict[str, str], count: int, resources: dict[str, float], labels: Any
    ) -> None:
        with self.lock:
            name, kind = self._next_hex_node_id(), tags[TAG_RAY_USER_NODE_TYPE]
            machine = Node(
                RayParams(
                    node_ip_address=f"127.0.0.{10 + self._next_node_id}",
                    gcs_address=self._gcs_address,
                    redis_address=self._gcs_address,
                    min_worker_port=0, max_worker_port=0, dashboard_port=None, dashboard_agent_listen_port=0,
                    num_cpus=resources["CPU"],
                    object_store_memory=100 << 20,
                    env_vars={
                        "RAY_OVERRIDE_NODE_ID_FOR_TESTING": name, "RAY_CLOUD_INSTANCE_ID": name,
                        "RAY_NODE_TYPE_NAME": kind,
                    },
                ),
                head=False, shutdown_at_exit=False, spawn_reaper=False,
            )  # fmt: skip
            self._nodes[name] = {"tags": {TAG_RAY_NODE_NAME: name, **tags}, "node": machine}


@contextlib.contextmanager
def growing_cluster(cpus_of_a_node: int, most_nodes: int, *, with_jobs: bool = False) -> Iterator[dict[str, str]]:
    """The cluster, for as long as the context lasts; yields the environment of a command that is to join it.

    With a job server, if asked for, its URL is there as JOBS.
    """
    mark = uuid.uuid4().hex
    jobs = free_port(_HEAD)
    gcs = f"{_HEAD}:{free_port(_HEAD)}"
    environment = command_environment(
        mark,
        {
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": secrets.token_hex(32),
            "RAY_USAGE_STATS_ENABLED": "0",
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        },
    )
    own = {
        "RAY_FAKE_CLUSTER": "1",
        "RAY_enable_autoscaler_v2": "1",
        "RAY_CLOUD_INSTANCE_ID": FAKE_HEAD_NODE_ID,
        "RAY_OVERRIDE_NODE_ID_FOR_TESTING": FAKE_HEAD_NODE_ID,
        "AUTOSCALER_UPDATE_INTERVAL_S": "1",
    }
    config = {
        "cluster_name": "growing",
        "max_workers": most_nodes,
        "provider": {
            "type": "external",
            "module": f"{__name__}.{LoopbackMachines.__name__}",
            "gcs_address": gcs,
            "head_node_id": FAKE_HEAD_NODE_ID,
            "launch_multiple": True,
        },
        # No machine is set up: it is this one. Ray asks for these keys nevertheless.
        "auth": {}, "file_mounts": {}, "cluster_synced_files": [],
        "initialization_commands": [], "setup_commands": [], "head_setup_commands": [], "worker_setup_commands": [],
        "head_start_ray_commands": [], "worker_start_ray_commands": [],
        "head_node_type": "ray.head.default",
        "available_node_types": {
            "ray.head.default": {"resources": {"CPU": 0}, "node_config": {}, "max_workers": 0},
            "cpu": {
                "resources": {"CPU": cpus_of_a_node}, "node_config": {}, "min_workers": 0, "max_workers": most_nodes,
            },
        },
    }  # fmt: skip
    # Not pytest's long folder: a Unix socket's path has at most 107 bytes.
    with tempfile.TemporaryDirectory(prefix="cvd-grow-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        file = Path(folder) / "bootstrap.yaml"
        file.write_text(json.dumps(config))
        command = [
            str(Path(sys.executable).with_name("ray")), "start", "--head", f"--node-ip-address={_HEAD}",
            f"--port={gcs.rpartition(':')[2]}", "--num-cpus=0",
            f"--include-dashboard={str(with_jobs).lower()}", f"--dashboard-host={_HEAD}", f"--dashboard-port={jobs}",
            f"--dashboard-agent-listen-port={free_port(_HEAD)}", f"--temp-dir={folder}/ray",
            f"--autoscaling-config={file}",
        ]  # fmt: skip
        try:
            started = subprocess.run(
                command, env={**environment, **own}, capture_output=True, text=True, timeout=120, check=False
            )
            assert started.returncode == 0, started.stdout + started.stderr
            yield {**environment, "RAY_ADDRESS": gcs, "JOBS": f"http://{_HEAD}:{jobs}"}
        finally:
            end_processes_with(mark)
