from __future__ import annotations

import itertools

from cvd_cluster.roles.role_status import ActorLoss, RolePhase, RoleStatus
from cvd_cluster.supervision.snapshot import GroupSnapshot
from cvd_cluster.supervision.transitions import transitions
from cvd_cluster.topology import Task
from tests.cvd_cluster.fakes import failure, status

CHIEF, EVALUATOR = Task("chief", 0, 1.0, 0), Task("evaluator", 0, 1.0, 0)
LOST = RolePhase.LOST


def told(task: Task, *statuses: RoleStatus) -> list[tuple[str, str]]:
    """(event, cause) of one role from the second of these statuses on."""
    snapshots = [GroupSnapshot(1000.0 + n, float(n), {task: one}) for n, one in enumerate(statuses)]
    pairs = itertools.pairwise(snapshots)
    return [(event.event.value, event.cause) for before, after in pairs for event in transitions(before, after)]


def test_a_process_that_died_is_told_with_what_may_have_ended_it() -> None:
    ((event, cause),) = told(CHIEF, status(CHIEF), status(CHIEF, LOST))
    assert event == "process_ended" and "SIGKILL" in cause and "memory" in cause


def test_the_end_of_a_process_that_the_command_ended_is_its_doing_and_nobody_elses() -> None:
    ((event, cause),) = told(CHIEF, status(CHIEF), status(CHIEF, LOST, ended_by_command=True))
    assert event == "process_ended" and "the command ended its process 4711" in cause
    assert "SIGKILL" not in cause and "memory" not in cause


def test_what_explains_more_than_the_command_is_told_instead() -> None:
    failed = status(CHIEF, RolePhase.FAILED, ended_by_command=True, failure=failure("KeyError"))
    lost = status(CHIEF, LOST, exit_code=None, ended_by_command=True, loss=ActorLoss("no more", False, gone_at=0.0))
    assert "KeyError" in told(CHIEF, status(CHIEF), failed)[0][1]
    assert "no more" in told(CHIEF, status(CHIEF), lost)[0][1]


def test_an_evaluator_for_which_there_is_no_room_is_told_once() -> None:
    pending = RoleStatus(EVALUATOR.name)
    waiting = RoleStatus(EVALUATOR.name, awaits_node=True)
    begun = status(EVALUATOR, RolePhase.STARTING)
    events = [event for event, _ in told(EVALUATOR, pending, waiting, waiting, begun)]
    assert events == ["waiting_for_nodes", "process_started"]
