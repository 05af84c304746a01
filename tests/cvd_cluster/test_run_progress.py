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
    """Roles with so many steps made, or as given."""
    statuses = {}
    for task in (CHIEF, WORKER, PS, EVALUATOR):
        given: Any = steps.get(task.role, 0)
        statuses[task] = given if isinstance(given, RoleStatus) else status(task, local_steps=given)
    return GroupSnapshot(time, statuses)


def fed(*snapshots: GroupSnapshot) -> RunProgress:
    progress = RunProgress()
    for one in snapshots:
        progress.update(one)
    return progress


def stalled(*snapshots: GroupSnapshot) -> list[str]:
    return [stall.name for stall in fed(*snapshots).stalls(snapshots[-1], 10.0)]


def test_a_role_that_makes_steps_stands_not_still() -> None:
    assert stalled(snapshot(0), snapshot(9, chief=1, worker=1, evaluator=1), snapshot(18, chief=2, worker=1)) == []


def test_the_role_whose_last_step_lies_back_furthest_is_named_first() -> None:
    snapshots = [snapshot(0), snapshot(5, chief=1), snapshot(16, chief=1, evaluator=4)]
    assert stalled(*snapshots) == ["worker-0", "chief-0"]


def test_a_process_that_is_stopped_by_a_signal_is_named_first_even_a_parameter_server() -> None:
    halted = status(CHIEF, local_steps=1, halted=True)
    assert stalled(snapshot(0), snapshot(5, chief=1), snapshot(16, chief=halted, evaluator=4))[0] == "chief-0"
    ps = status(PS, halted=True)
    assert stalled(snapshot(0), snapshot(5, chief=1), snapshot(16, chief=1, ps=ps, evaluator=4))[0] == "ps-0"
    assert stalled(snapshot(0), snapshot(5, chief=1, worker=1, ps=ps, evaluator=1)) == [], "none waits for it yet"


def test_nothing_is_expected_of_a_role_that_has_ended_or_finished_or_of_a_parameter_server() -> None:
    finished = status(CHIEF, local_steps=1, training_finished=True)
    done = status(WORKER, RolePhase.DONE, local_steps=1)
    assert stalled(snapshot(0), snapshot(50, chief=finished, worker=done, evaluator=1)) == []


def test_a_new_process_has_its_time_and_the_steps_of_all_count() -> None:
    anew = status(WORKER, RolePhase.STARTING, pid=99)
    progress = fed(snapshot(0), snapshot(8, chief=5, worker=5), snapshot(12, chief=6, worker=anew))
    late = progress.stalls(snapshot(20, chief=9, worker=anew, evaluator=1), 10.0)
    assert [stall.name for stall in late if stall.name != "evaluator-0"] == []
    progress.update(snapshot(21, worker=status(WORKER, local_steps=2, pid=99, first_step_time=70.0)))
    assert progress.total_steps("worker-0") == 7
    assert progress.first_step_time("worker-0") == 50.0, "of the first process"
