from __future__ import annotations

import socket

import pytest

from cvd_cluster import reachable_nodes


@pytest.fixture(autouse=True)
def control_service_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reachable_nodes, "control_service_answers", lambda: True)


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
        at_hosts = [reachable_nodes.node_at(f"127.0.0.{n}") for n in (1, 2, 3, 4)]
        assert at_hosts == ["there", None, None, None]
        assert [reachable_nodes.is_reachable(name) for name in (*ports, "unknown")] == [True, False, False, False]


def test_a_node_that_has_come_at_the_address_of_another_is_not_taken_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as raylet:
        raylet.bind(("127.0.0.1", 0))
        raylet.listen()
        port = raylet.getsockname()[1]
        nodes = [
            {"NodeID": name, "Alive": name == "new", "NodeManagerAddress": "127.0.0.1", "NodeManagerPort": port}
            for name in ("old", "new")
        ]
        monkeypatch.setattr("ray.nodes", lambda: nodes)
        assert reachable_nodes.node_at("127.0.0.1") == "new"
        assert reachable_nodes.is_reachable("new") and not reachable_nodes.is_reachable("old")
