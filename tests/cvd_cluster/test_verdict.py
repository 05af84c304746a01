from __future__ import annotations

import pytest

from cvd_cluster.errors import RoleError, RoleLostError
from cvd_cluster.roles.role_status import ActorLoss, RolePhase, RoleStatus
from cvd_cluster.supervision import verdict
from cvd_cluster.supervision.snapshot import GroupSnapshot
from cvd_cluster.topology import Task
from estimators.errors import DataError, HarnessError, InfeasibleError, InfrastructureError, UserError
from tests.cvd_cluster.fakes import failure, status

CHIEF, WORKER, PS = Task("chief", 0, 1.0, 0), Task("worker", 0, 1.0, 0), Task("ps", 0, 1.0, 0)
EVALUATOR = Task("evaluator", 0, 1.0, 0)
FAILED, LOST, DONE = RolePhase.FAILED, RolePhase.LOST, RolePhase.DONE
LOGS = "/run/logs"


def snapshot(**changed: RoleStatus) -> GroupSnapshot:
    statuses = {task: changed.get(task.role, status(task)) for task in (CHIEF, WORKER, PS, EVALUATOR)}
    return GroupSnapshot(1000.0, 50.0, statuses)


def told(*troubled: RoleStatus) -> str:
    return str(verdict.error_of(troubled, LOGS))


# As TensorFlow 2.15 words them: from a py_function of another process, from one of this process, and of an operation.
_DETECTED = """Graph execution error:

Detected at node 'PyFunc' defined at (most recent call last):
    File "/x/my_models.py", line 56, in create_model
      raise ValueError("this line is the user's code, not an error: ")
Node: 'PyFunc'
"""


@pytest.mark.parametrize(
    ("message", "told"),
    [
        (_DETECTED + "=====\nUNKNOWN: From /job:ps/replica:0/task:0:\nKeyError: 'x'\nTraceback …", "KeyError: 'x'"),
        (_DETECTED + "KeyError: 'x'\nTraceback (most recent call last):\n", "KeyError: 'x'"),
        (_DETECTED + "2 root error(s) found.\n  (0) INVALID_ARGUMENT:  Incompatible shapes: [4,3]", "(0) INVALID_"),
        (
            _DETECTED + "Incompatible shapes: [4,3] and [2,3]\n\t [[{{node add}}]]",
            "Incompatible shapes: [4,3] and [2,3]",
        ),
        ("Graph execution error:", "Graph execution error:"),
        ("one\nKeyError: 'x'", "one"),
    ],
)
def test_an_end_is_told_by_the_line_that_says_why(message: str, told: str) -> None:
    ended = status(WORKER, RolePhase.FAILED, failure=failure("UnknownError", message=message))
    assert f"ended with UnknownError: {told}" in verdict.how_it_ended(ended)


def test_training_is_over_when_the_chief_has_saved_and_exported_or_is_done() -> None:
    assert not verdict.training_is_over(snapshot())
    assert verdict.training_is_over(snapshot(chief=status(CHIEF, training_finished=True)))
    assert verdict.training_is_over(snapshot(chief=status(CHIEF, DONE)))
    assert not verdict.training_is_over(snapshot(worker=status(WORKER, DONE)))
    assert not verdict.training_is_over(snapshot(chief=status(CHIEF, LOST)))


@pytest.mark.parametrize("phase", [FAILED, LOST])
def test_training_is_in_trouble_when_a_role_it_needs_has_ended_badly(phase: RolePhase) -> None:
    for task in (CHIEF, WORKER, PS):
        troubled = verdict.in_trouble(snapshot(**{task.role: status(task, phase)}))
        assert [one.name for one in troubled] == [task.name]


def test_training_does_not_need_its_evaluator_nor_a_worker_that_is_done() -> None:
    assert verdict.in_trouble(snapshot(evaluator=status(EVALUATOR, FAILED), worker=status(WORKER, DONE))) == []


def test_the_cause_is_shown_with_its_traceback_and_the_echoes_are_named() -> None:
    echo = status(CHIEF, FAILED, failure=failure("UnavailableError", is_echo=True, time=90.0, message="peer is gone"))
    cause = status(WORKER, FAILED, failure=failure("KeyError", time=100.0))
    for order in ([echo, cause], [cause, echo]):
        error = verdict.error_of(order, LOGS)
        assert isinstance(error, RoleError)
        assert error.summary == "worker-0 failed: KeyError (chief-0 ended after it)"
        assert error.found.startswith("Traceback") and "the author forgot something" in error.found
        assert "peer is gone" not in str(error) and f"{LOGS}/worker-0.log" in error.change


def test_of_two_errors_the_earlier_is_the_cause() -> None:
    early = status(WORKER, FAILED, failure=failure("ValueError", time=99.0))
    late = status(CHIEF, FAILED, failure=failure("KeyError", time=100.0))
    assert told(late, early).startswith("worker-0 failed: ValueError (chief-0")


def test_an_error_of_python_explains_more_than_one_of_tensorflow_that_came_before_it() -> None:
    follows = status(CHIEF, FAILED, failure=failure("InternalError", is_tensorflows=True, time=99.0))
    cause = status(WORKER, FAILED, failure=failure("ValueError", time=100.0))
    assert told(follows, cause).startswith("worker-0 failed: ValueError (chief-0")


def test_a_python_error_explains_more_than_a_process_that_is_lost() -> None:
    assert told(status(PS, LOST), status(WORKER, FAILED)).startswith("worker-0 failed: KeyError (ps-0 ended after it)")


def test_a_process_that_is_lost_explains_more_than_an_echo() -> None:
    echo = status(CHIEF, FAILED, failure=failure("UnavailableError", is_echo=True, time=1.0))
    error = verdict.error_of([echo, status(WORKER, LOST)], LOGS)
    assert isinstance(error, RoleLostError) and error.summary == "worker-0 was lost (chief-0 ended after it)"
    assert "SIGKILL" in error.found and "memory runs out" in error.found and "4711" in error.found
    assert "continues" in error.change and f"{LOGS}/worker-0.log" in error.change


def test_if_there_is_nothing_but_echoes_the_first_is_shown() -> None:
    echoes = [
        status(task, FAILED, failure=failure("UnavailableError", is_echo=True, time=at))
        for task, at in ((CHIEF, 5.0), (WORKER, 4.0))
    ]
    assert told(*echoes).startswith("worker-0 failed: UnavailableError (chief-0")


def test_of_a_lost_actor_it_is_told_whether_that_was_announced() -> None:
    gone = status(WORKER, LOST, exit_code=None, loss=ActorLoss("no more", False, gone_at=0.0))
    announced = status(WORKER, LOST, exit_code=None, loss=ActorLoss("no more", True, gone_at=0.0))
    assert "its actor on Ray is gone: no more" in told(gone)
    assert "Ray had announced that" in told(announced)


@pytest.mark.parametrize(
    ("exit_code", "words"),
    [
        (-15, "SIGTERM"),
        (-6, "SIGABRT"),
        (-64, "SIGRTMAX"),
        (-100, "signal 100"),
        (7, "exit code 7 without an error"),
        (0, "ended"),
    ],
)
def test_it_is_told_how_a_process_was_lost(exit_code: int | None, words: str) -> None:
    message = told(status(WORKER, LOST, exit_code=exit_code))
    assert words in message and "memory" not in message


@pytest.mark.parametrize(
    ("kind", "cls", "exit_code"),
    [
        ("UserError", UserError, 2),
        ("DataError", DataError, 2),
        ("DamagedRecordError", UserError, 2),
        ("InfeasibleError", InfeasibleError, 4),
        ("FencedError", InfrastructureError, 3),
    ],
)
def test_an_error_with_a_message_for_people_is_shown_as_it_is(
    kind: str, cls: type[HarnessError], exit_code: int
) -> None:
    cause = status(WORKER, FAILED, failure=failure(kind, parts=("a", "f", "c"), message="A record is bad"))
    error = verdict.error_of([cause], LOGS)
    assert isinstance(error, cls) and error.exit_code == exit_code
    assert str(error) == "worker-0: A record is bad\n  asked:  a\n  found:  f\n  change: c"
    assert "Traceback" not in str(error)
    assert told(cause, status(PS, LOST)).startswith("worker-0: A record is bad (ps-0 ended after it)\n")
