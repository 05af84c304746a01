"""The bundles of a run when a machine is gone and Ray does not know it yet."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from cvd_cluster import reachable_nodes
from cvd_cluster.supervision import room
from cvd_cluster.supervision.room import Room
from cvd_cluster.topology import Task
from estimators.errors import InfrastructureError
from tests.cvd_cluster.fakes import FakeClock

TASKS = (Task("chief", 0, 1.0, 0), Task("worker", 0, 1.0, 0))


class FakeRay:
    """Nodes as Ray sees them, a bundle on each of the two that there are at first.

    Attributes:
      raylets: node -> the port of this machine that stands for its raylet; 0 if its machine is gone.
      answers: whether its control service can be connected to.
      room_for: how many bundles find a node; of more, none does.
      notices_at: when Ray takes "b" for lost, and gives its bundle to the node that is there then, if there is one.
    """

    def __init__(self, clock: FakeClock, raylets: dict[str, int]) -> None:
        self.clock, self.raylets, self.notices_at = clock, raylets, float("inf")
        self.homes = {0: "a", 1: "b"}
        self.groups: list[int] = []
        self.answers = True
        self.room_for = 9

    def nodes(self) -> list[dict[str, Any]]:
        return [
            {
                "NodeID": name,
                "Alive": name != "b" or self.clock.now < self.notices_at,
                "NodeManagerAddress": "127.0.0.1",
                "NodeManagerPort": port,
            }
            for name, port in self.raylets.items()
        ]

    def table(self, group: object) -> dict[str, Any]:
        lost = self.clock.now >= self.notices_at
        if lost and "c" in self.raylets:
            self.homes = {index: "c" if home == "b" else home for index, home in self.homes.items()}
        placed = not lost or "b" not in self.homes.values()
        return {"state": "CREATED" if placed else "RESCHEDULING", "bundles_to_node_id": dict(self.homes)}

    def place(self, bundles: list[dict[str, float]], strategy: str) -> object:
        assert strategy == "PACK" and bundles
        # Ray knows no better than to take a node that it believes to be there.
        free = "b" if self.clock.now < self.notices_at else "a"
        self.homes = dict.fromkeys(range(len(bundles)), free if len(bundles) <= self.room_for else "")
        self.groups.append(len(bundles))
        return object()


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> FakeRay:
    """The machine of node "b" is gone."""
    ray = FakeRay(FakeClock(), {"a": 4001, "b": 0})
    monkeypatch.setattr("ray.nodes", ray.nodes)
    monkeypatch.setattr(reachable_nodes, "_answers", lambda node: bool(node["NodeManagerPort"]))
    for module in (room, reachable_nodes):
        monkeypatch.setattr(module, "control_service_answers", lambda: ray.answers)
    monkeypatch.setattr(room, "placement_group_table", ray.table)
    monkeypatch.setattr(room, "placement_group", ray.place)
    monkeypatch.setattr(room, "remove_placement_group", lambda group: None)
    monkeypatch.setattr(room, "time", ray.clock)
    return ray


def pause(ray: FakeRay) -> Callable[[], None]:
    def wait() -> None:
        ray.clock.now += 1

    return wait


def test_a_bundle_on_a_machine_that_is_gone_is_no_room_though_ray_believes_in_it(cluster: FakeRay) -> None:
    made = Room(object(), TASKS)
    assert not made.is_whole()
    cluster.raylets["b"] = 4002
    assert made.is_whole()


def test_a_node_that_comes_is_waited_for_from_when_ray_has_noticed_the_loss(cluster: FakeRay) -> None:
    cluster.notices_at = cluster.clock.now + 65
    began = cluster.clock.now

    def come() -> None:
        cluster.clock.now += 1
        if cluster.clock.now - began > 68:
            cluster.raylets["c"] = 4003

    assert Room(object(), TASKS).wait_until_whole(0, pause=come)
    assert cluster.clock.now - began < 75


def test_a_machine_of_which_ray_never_says_that_it_is_gone_is_not_waited_for_for_ever(cluster: FakeRay) -> None:
    began = cluster.clock.now
    assert not Room(object(), TASKS).wait_until_whole(0, pause=pause(cluster))
    assert 90 <= cluster.clock.now - began <= 102


def test_a_control_service_that_is_away_for_a_moment_ends_no_run(cluster: FakeRay) -> None:
    made = Room(object(), TASKS)
    for answers, seconds in ((True, 60), (False, 20), (True, 60), (False, 20)):
        cluster.answers = answers
        for _ in range(seconds):
            cluster.clock.now += 1
            made.check_served()
    cluster.clock.now += 2
    with pytest.raises(InfrastructureError, match="Ray is gone"):
        made.check_served()


def test_a_control_service_that_was_not_asked_for_long_is_not_gone_at_the_first_try(cluster: FakeRay) -> None:
    made = Room(object(), TASKS)
    made.check_served()
    cluster.clock.now += 500
    cluster.answers = False
    made.check_served()


def test_an_evaluator_without_a_node_keeps_nobody_from_training(cluster: FakeRay) -> None:
    evaluator = Task("evaluator", 0, 1.0, 0)
    made = Room(object(), (TASKS[0], evaluator))
    assert made.is_whole() and made.has_node(TASKS[0]) and not made.has_node(evaluator)
    cluster.notices_at = cluster.clock.now
    made.keep([evaluator])
    assert made.tasks == (evaluator,) and cluster.groups == [1] and made.has_node(evaluator) and made.is_whole()


@pytest.mark.parametrize(("room_for", "left"), [(3, "chief-0 worker-0 worker-1"), (2, "chief-0 worker-0")])
def test_an_evaluator_is_left_out_before_a_worker_is(cluster: FakeRay, room_for: int, left: str) -> None:
    second, evaluator = Task("worker", 1, 1.0, 0), Task("evaluator", 0, 1.0, 0)
    cluster.notices_at, cluster.room_for = cluster.clock.now, room_for
    made = Room(object(), (*TASKS, second, evaluator))
    made.shrink(2, pause=pause(cluster))
    assert " ".join(task.name for task in made.tasks) == left and made.is_whole()


def test_a_worker_comes_before_an_evaluator_and_without_any_room_it_is_told(cluster: FakeRay) -> None:
    evaluator = Task("evaluator", 0, 1.0, 0)
    cluster.notices_at, cluster.room_for = cluster.clock.now, 2
    made = Room(object(), (*TASKS, evaluator))
    made.shrink(1, pause=pause(cluster))
    assert made.tasks == TASKS
    cluster.room_for = 0
    with pytest.raises(InfrastructureError, match="no room"):
        Room(object(), (*TASKS, evaluator)).shrink(1, pause=pause(cluster))


def test_a_control_service_that_is_gone_is_asked_nothing_since_ray_would_end_this_process(
    cluster: FakeRay, monkeypatch: pytest.MonkeyPatch
) -> None:
    def asked(*arguments: object) -> None:
        pytest.fail("it was asked")

    made = Room(object(), TASKS)
    cluster.answers = False
    monkeypatch.setattr("ray.nodes", asked)
    for name in ("placement_group_table", "remove_placement_group"):
        monkeypatch.setattr(room, name, asked)

    def look() -> None:
        cluster.clock.now += 1
        made.check_served()

    assert not reachable_nodes.is_reachable("a") and not made.is_whole()
    with pytest.raises(InfrastructureError, match="Ray is gone"):
        made.wait_until_whole(0, pause=look)
    made.release()


def test_a_run_shrinks_onto_nodes_that_are_there(cluster: FakeRay) -> None:
    cluster.notices_at = cluster.clock.now + 65
    made = Room(object(), TASKS)
    assert not made.wait_until_whole(0, pause=pause(cluster))
    made.shrink(1, pause=pause(cluster))
    assert made.tasks == TASKS[:1] and cluster.homes == {0: "a"} and cluster.groups == [1]
    with pytest.raises(InfrastructureError, match="no room for the run any more"):
        made.shrink(1, pause=pause(cluster))
