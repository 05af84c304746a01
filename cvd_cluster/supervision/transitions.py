"""What happened between two snapshots. Pure."""

from __future__ import annotations

from cvd_cluster.roles.role_status import RolePhase, RoleStatus
from cvd_cluster.supervision import verdict
from cvd_cluster.supervision.event_log import Event, EventKind
from cvd_cluster.supervision.snapshot import GroupSnapshot


def transitions(before: GroupSnapshot | None, after: GroupSnapshot) -> list[Event]:
    """The events between two snapshots, in the order of the roles; `before` is None at the start."""
    events = []
    for task, status in after.statuses.items():
        old = before.statuses.get(task) if before is not None else None
        for kind, cause in _of_role(old, status):
            first = status.first_step_time if kind is EventKind.FIRST_STEP else None
            events.append(event_of(kind, status, first or after.time, cause))
    return events


def event_of(kind: EventKind, status: RoleStatus, time: float, cause: str = "") -> Event:
    """An event of one role."""
    role, _, index = status.name.rpartition("-")
    return Event(time, kind, role, int(index), status.generation, status.host, status.address, status.pid, cause=cause)


def _of_role(old: RoleStatus | None, new: RoleStatus) -> list[tuple[EventKind, str]]:
    events: list[tuple[EventKind, str]] = []
    same = old is not None and old.pid == new.pid
    if new.pid >= 0 and not same:
        events.append((EventKind.PROCESS_STARTED, ""))
    if new.first_step_time is not None and not (same and old is not None and old.first_step_time is not None):
        events.append((EventKind.FIRST_STEP, f"step {new.global_step}"))
    if new.training_finished and not (same and old is not None and old.training_finished):
        events.append((EventKind.TRAINING_FINISHED, ""))
    if new.awaits_node and not (old is not None and old.awaits_node):
        events.append((EventKind.WAITING_FOR_NODES, "its actor has not begun: there is no room for it now"))
    if new.phase.is_terminal and not (same and old is not None and old.phase.is_terminal):
        events.append((EventKind.PROCESS_ENDED, "" if new.phase is RolePhase.DONE else _how_it_ended(new)))
    return events


def _how_it_ended(status: RoleStatus) -> str:
    # Of a process that was healthy the signal alone would tell a story of its own: that memory ran out.
    if status.ended_by_command and status.loss is None and status.failure is None:
        return f"the command ended its process {status.pid}"
    return verdict.how_it_ended(status)
