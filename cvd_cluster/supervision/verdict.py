"""What follows from a snapshot. Pure: no Ray, no clock of its own."""

from __future__ import annotations

import re
import signal
from collections.abc import Sequence

from cvd_cluster.errors import RoleError, RoleLostError
from cvd_cluster.roles.role_status import RoleFailure, RolePhase, RoleStatus
from cvd_cluster.supervision.snapshot import GroupSnapshot
from estimators.errors import DataError, HarnessError, InfeasibleError, InfrastructureError, UserError
from estimators.train_dir.generation import FencedError

# How long after the first sign of trouble its cause may still be on its way: a peer's error can arrive before it.
ECHO_SECS = 3.0
_GRAPH_ERROR = "Graph execution error:"
_PYTHON_ERROR = re.compile(r"[A-Za-z_][\w.]*(Error|Exception|Interrupt): ")
_NO_REASON = re.compile(r"$|=+$|\d+ root error\(s\) found|[A-Z_]+: From /job:")


def training_is_over(snapshot: GroupSnapshot) -> bool:
    """True once the chief has saved and exported the last step."""
    return any(chief.training_finished or chief.phase is RolePhase.DONE for chief in snapshot.of_role("chief"))


def in_trouble(snapshot: GroupSnapshot) -> list[RoleStatus]:
    """The roles whose end ends training: a chief, worker or ps that failed or is lost."""
    return [
        status
        for status in snapshot.of_role("chief", "worker", "ps")
        if status.phase in (RolePhase.FAILED, RolePhase.LOST)
    ]


def error_of(troubled: Sequence[RoleStatus], log_folder: str) -> HarnessError:
    """The error of the role that ended first by itself; all others are named, not shown.

    Args:
      troubled: roles that failed or are lost, at least one.
      log_folder: where the logs of the roles are, for the message.
    """

    def rank(status: RoleStatus) -> tuple[bool, bool, bool, float]:
        failure = status.failure
        if failure is None:  # a Python error explains more than a process without a word
            return False, False, True, 0.0
        # An error of TensorFlow may follow from one of Python in another role, and never the other way round.
        return failure.is_echo, failure.is_tensorflows, False, failure.time

    first = min(troubled, key=rank)
    others = [status.name for status in troubled if status is not first]
    also = f" ({', '.join(others)} ended after it)" if others else ""
    if first.failure is None:
        return RoleLostError(
            f"{first.name} was lost{also}",
            found=how_it_ended(first),
            change=f"see {log_folder}/{first.name}.log; the same command without --start_new_model continues",
        )
    return _failure_error(first.name, first.failure, also, log_folder)


def _failure_error(name: str, failure: RoleFailure, also: str, log_folder: str) -> HarnessError:
    """A role's Python error as an error of this process: with its traceback, unless it has a message for people."""
    if failure.parts is not None:
        asked, found, change = failure.parts
        known = {cls.__name__: cls for cls in (DataError, FencedError, InfeasibleError, InfrastructureError)}
        cls = known.get(failure.kind, UserError)
        return cls(f"{name}: {failure.message}{also}", asked=asked, found=found, change=change)
    return RoleError(
        f"{name} failed: {failure.kind}{also}",
        found=failure.traceback.strip(),
        change=f"the code that the traceback names; more is in {log_folder}/{name}.log",
    )


def how_it_ended(status: RoleStatus) -> str:
    """One line about the end of a role's process."""
    code = status.exit_code
    if status.loss is not None:
        announced = "; Ray had announced that" if status.loss.preempted else ""
        return f"its actor on Ray is gone{announced}: {status.loss.cause}"
    if status.failure is not None:
        return f"its process {status.pid} ended with {status.failure.kind}: {_telling_line(status.failure.message)}"
    if code is None or code == 0:
        return f"its process {status.pid} ended"
    if code < 0:
        try:
            name = signal.Signals(-code).name
        except ValueError:
            name = f"signal {-code}"
        hint = "; the kernel does that when memory runs out" if -code == signal.SIGKILL else ""
        return f"its process {status.pid} was ended by {name}{hint}"
    return f"its process {status.pid} ended with exit code {code} without an error"


def _telling_line(message: str) -> str:
    """The line of an error that says what happened. TensorFlow begins with where in the graph, in many lines."""
    lines = [line.strip() for line in message.strip().splitlines()]
    if lines[:1] != [_GRAPH_ERROR]:
        return first_line(message)
    of_python = [line for line in lines if _PYTHON_ERROR.match(line)]  # raised in a tf.py_function
    nodes = [number for number, line in enumerate(lines) if line.startswith("Node: ")]
    after = [line for line in lines[nodes[-1] + 1 if nodes else 1 :] if not _NO_REASON.match(line)]
    return first_line([*of_python, *after, _GRAPH_ERROR][0])


def first_line(text: str) -> str:
    """The first line of a text, shortened."""
    return (text.strip().splitlines() or [""])[0][:200]
