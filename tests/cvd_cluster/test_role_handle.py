from __future__ import annotations

from collections.abc import Callable

import pytest
import ray

from cvd_cluster.roles.role_status import RolePhase
from cvd_cluster.supervision import role_handle
from cvd_cluster.supervision.role_handle import RoleHandle
from cvd_cluster.topology import Task
from estimators.experiment_options import ExperimentOptions
from tests.cvd_cluster.fake_ray import FakeRay
from tests.cvd_cluster.fakes import FakeClock, status

CHIEF = Task("chief", 0, 1.0, 0)
ORPHAN_TIMEOUT = 10.0
DIED = ray.exceptions.RayActorError(error_msg="The actor is dead because its node has died.")


class Handled:
    """The handle of one actor, its clock, and the nodes that are there."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.clock, self.nodes = FakeClock(), {"node-1"}
        self.fake = FakeRay(self.clock)
        monkeypatch.setattr(role_handle, "ray", self.fake)
        monkeypatch.setattr(role_handle, "time", self.clock)
        monkeypatch.setattr(role_handle, "node_at", {"127.0.0.2": "node-1"}.get)
        monkeypatch.setattr(role_handle, "is_reachable", self.nodes.__contains__)
        options = ExperimentOptions(train_dir="/run", train_data_pattern="/d/*")
        self.handle = RoleHandle(CHIEF, options, ORPHAN_TIMEOUT, placement_group=None, bundle=0)
        (self.actor,) = self.fake.actors

    def look(self, answer: object = None) -> RoleHandle:
        if answer is not None:
            self.actor.answers["poll"] = answer
        self.handle.ask()
        self.handle.take_answer()
        return self.handle


@pytest.fixture
def handled(monkeypatch: pytest.MonkeyPatch) -> Handled:
    return Handled(monkeypatch)


def test_a_role_on_a_lost_node_may_have_heard_from_the_command_until_that_is_noticed(handled: Handled) -> None:
    handled.look(status(CHIEF))
    handled.nodes.clear()
    handled.clock.now += 40  # the loop waited for something else, and the heartbeat went on
    loss = handled.look(DIED).status.loss
    assert loss is not None and loss.cause.startswith("its node is gone: ")
    assert loss.gone_at > handled.clock.now + ORPHAN_TIMEOUT


def test_a_role_that_is_silent_for_too_long_is_lost_and_counts_as_living_until_it_must_have_noticed(
    handled: Handled,
) -> None:
    handled.look(status(CHIEF))
    del handled.actor.answers["poll"]
    handled.nodes.clear()
    assert not handled.look().is_lost
    handled.clock.now += 31
    loss = handled.look().status.loss
    assert loss is not None and "has not answered for 30 s" in loss.cause and handled.actor.killed
    assert loss.gone_at > handled.clock.now + ORPHAN_TIMEOUT


def test_a_role_whose_process_does_not_start_is_lost_and_the_reason_told(handled: Handled) -> None:
    handled.look(status(CHIEF))
    handled.handle.prepare(None, 1)  # type: ignore[arg-type]
    assert not handled.look().is_lost, "it is under way"
    handled.actor.answers["prepare"] = ray.exceptions.RayTaskError("prepare", "OSError: too many processes", OSError())
    loss = handled.look().status.loss
    assert loss is not None and "did not start: OSError: too many processes" in loss.cause and handled.actor.killed


def test_a_role_is_not_silent_while_the_command_itself_stood_still(handled: Handled) -> None:
    handled.look(status(CHIEF))
    del handled.actor.answers["poll"]
    handled.clock.now += 60  # in a look at a file system that was away
    assert not handled.look().is_lost
    handled.clock.now += 29
    assert not handled.look().is_lost
    handled.clock.now += 2
    assert handled.look().is_lost


def test_a_role_that_is_out_of_reach_now_and_then_and_never_answers_is_lost(handled: Handled) -> None:
    handled.look(status(CHIEF))
    for _ in range(4):
        handled.look(ray.exceptions.ActorUnavailableError("out of reach", None))
        del handled.actor.answers["poll"]
        handled.clock.now += 10
    assert handled.look().is_lost


def test_the_raylet_of_a_node_that_is_there_ends_a_lost_role_at_once(handled: Handled) -> None:
    handled.look(status(CHIEF))
    loss = handled.look(DIED).status.loss
    assert loss is not None and loss.gone_at == handled.clock.now and "node is gone" not in loss.cause


def test_a_node_that_came_at_the_address_of_a_lost_one_ends_nothing_there(handled: Handled) -> None:
    handled.look(status(CHIEF))
    handled.nodes.clear()
    handled.nodes.add("node-2")
    loss = handled.look(DIED).status.loss
    assert loss is not None and loss.gone_at > handled.clock.now + ORPHAN_TIMEOUT


def test_of_an_actor_that_ends_before_its_first_answer_nothing_is_said_about_a_node(handled: Handled) -> None:
    loss = handled.look(ray.exceptions.RayActorError(error_msg="[Errno 28] No space left on device")).status.loss
    assert loss is not None and loss.cause == "it had not answered yet: [Errno 28] No space left on device"


def test_an_actor_that_finds_no_room_is_told_and_waited_for(handled: Handled) -> None:
    assert not handled.look().status.awaits_node
    handled.clock.now += 31
    waiting = handled.look()
    assert waiting.status.awaits_node and not waiting.is_lost
    begun = handled.look(status(CHIEF)).status
    assert begun.phase is RolePhase.TRAINING and not begun.awaits_node


@pytest.mark.parametrize("in_job", [True, False])
def test_in_a_job_ray_does_not_kill_a_process_that_outlives_its_actor_to_save(
    monkeypatch: pytest.MonkeyPatch, in_job: bool
) -> None:
    monkeypatch.setattr(role_handle, "in_ray_job", lambda: in_job)
    (environment,) = Handled(monkeypatch).fake.environments
    # Elsewhere nothing is added: Ray has no worker ready for an environment of its own.
    assert environment == ({"RAY_kill_child_processes_on_worker_exit": "false"} if in_job else {})


@pytest.mark.parametrize("once", [lambda handled: handled.look(DIED), lambda handled: handled.handle.lose("too late")])
def test_what_is_lost_is_asked_no_more(handled: Handled, once: Callable[[Handled], object]) -> None:
    once(handled)
    asked = len(handled.actor.called)
    assert handled.look().is_lost and len(handled.actor.called) == asked
