from __future__ import annotations

import socket

import pytest

from cvd_cluster.supervision import reachable_nodes


def test_a_node_is_there_if_ray_says_so_and_its_raylet_can_be_connected_to(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as raylet, socket.socket() as nobody:
        raylet.bind(("127.0.0.1", 0))
        raylet.listen()
        nobody.bind(("127.0.0.1", 0))  # does not listen
        ports = {"there": raylet.getsockname()[1], "gone": nobody.getsockname()[1], "dead": raylet.getsockname()[1]}
        nodes = [
            {"NodeID": name, "Alive": name != "dead", "NodeManagerAddress": f"127.0.0.{n}", "NodeManagerPort": port}
            for n, (name, port) in enumerate(ports.items(), start=1)
        ]
        # All of 127.0.0.0/8 is this machine; only the first address has the raylet.
        monkeypatch.setattr("ray.nodes", lambda: nodes)
        assert reachable_nodes.reachable_nodes() == {"there"}
        assert reachable_nodes.unnoticed_nodes() == {"gone"}
        hosts = [reachable_nodes.is_host_reachable(f"127.0.0.{n}") for n in (1, 2, 3, 4)]
        assert hosts == [True, False, False, False]
