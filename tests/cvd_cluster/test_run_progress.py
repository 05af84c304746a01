from __future__ import annotations

from typing import Any

from cvd_cluster.roles.role_status import RolePhase, RoleStatus
from cvd_cluster.supervision.run_progress import RunProgress
from cvd_cluster.supervision.snapshot import GroupSnapshot
from cvd_cluster.topology import Task
from tests.cvd_cluster.fakes import status

CHIEF, WORKER, PS = Task("chief", 0, 1.0, 0), Task("worker", 0, 1.0, 0), Task("ps", 0, 1.0, 0)
EVALUATOR = Task("evaluator", 0, 1.0, 0)


def snapshot(time: float, **steps: int | RoleStatus) -> GroupSnapshot:
    """Roles with so many steps made, 1 if that is not given, or as given."""
    statuses = {}
    for task in (CHIEF, WORKER, PS, EVALUATOR):
        given: Any = steps.get(task.role, 1)
        statuses[task] = given if isinstance(given, RoleStatus) else status(task, local_steps=given)
    return GroupSnapshot(0.0, time, statuses)


def fed(*snapshots: GroupSnapshot) -> RunProgress:
    progress = RunProgress()
    for one in snapshots:
        progress.update(one)
    return progress


def stalled(*snapshots: GroupSnapshot) -> list[str]:
    return [stall.name for stall in fed(*snapshots).stalls(snapshots[-1], 10.0)]


def test_a_role_that_makes_steps_stands_not_still() -> None:
    assert (
        stalled(snapshot(0), snapshot(9, chief=2, worker=2, evaluator=2), snapshot(18, chief=3, worker=2, evaluator=2))
        == []
    )


def test_the_role_whose_last_step_lies_back_furthest_is_named_first() -> None:
    snapshots = [snapshot(0), snapshot(5, chief=2), snapshot(16, chief=2, evaluator=4)]
    assert stalled(*snapshots) == ["worker-0", "chief-0"]


def test_roles_that_stopped_in_the_same_step_are_seen_in_the_same_look_though_one_was_noticed_later() -> None:
    # The last step of the worker was seen one look before that of the chief, and its time is up a look earlier.
    snapshots = [snapshot(0), snapshot(4, worker=2), snapshot(5, worker=2, chief=2)]
    assert stalled(*snapshots, snapshot(14.5, worker=2, chief=2, evaluator=4)) == ["worker-0", "chief-0"]
    assert stalled(*snapshots, snapshot(14, worker=2, chief=2, evaluator=4)) == []


def test_a_process_that_is_stopped_by_a_signal_is_named_first_even_a_parameter_server() -> None:
    halted = status(CHIEF, local_steps=2, halted=True)
    assert stalled(snapshot(0), snapshot(5, chief=2), snapshot(16, chief=halted, evaluator=4))[0] == "chief-0"
    ps = status(PS, halted=True)
    assert stalled(snapshot(0), snapshot(5, chief=2), snapshot(16, chief=2, ps=ps, evaluator=4))[0] == "ps-0"
    assert stalled(snapshot(0), snapshot(5, ps=ps)) == [], "none waits for it yet"


def test_nothing_is_expected_of_a_role_that_has_ended_or_finished_or_of_a_parameter_server() -> None:
    finished = status(CHIEF, local_steps=1, training_finished=True)
    done = status(WORKER, RolePhase.DONE, local_steps=1)
    assert stalled(snapshot(0), snapshot(50, chief=finished, worker=done, evaluator=2)) == []


def test_a_process_that_starts_has_two_minutes_at_least() -> None:
    begun = status(CHIEF, RolePhase.STARTING)
    for seconds, late in ((110.0, []), (130.0, ["chief-0"])):
        now = snapshot(seconds, chief=begun, worker=2, evaluator=2)
        assert stalled(snapshot(0, chief=begun), now) == late
    progress = fed(snapshot(0, chief=begun))
    progress.begin_clock("chief-0", 100.0)
    now = snapshot(130, chief=begun, worker=2, evaluator=2)
    progress.update(now)
    assert progress.stalls(now, 10.0) == [], "nothing was expected of it before"


def test_a_new_process_has_its_time_and_the_steps_of_all_count() -> None:
    anew = status(WORKER, RolePhase.STARTING, pid=99)
    progress = fed(snapshot(0), snapshot(8, chief=5, worker=5), snapshot(12, chief=6, worker=anew))
    late = progress.stalls(snapshot(20, chief=9, worker=anew, evaluator=1), 10.0)
    assert [stall.name for stall in late if stall.name != "evaluator-0"] == []
    progress.update(snapshot(21, worker=status(WORKER, local_steps=2, pid=99, first_step_time=70.0)))
    assert progress.total_steps("worker-0") == 7
    assert progress.first_step_time("worker-0") == 50.0, "of the first process"
