"""Looks at all roles, and tells what is new: their lines, events, who stands still, how many steps were made."""

from __future__ import annotations

from collections.abc import Callable, Collection

from cvd_cluster.supervision.event_log import EventKind, EventLog
from cvd_cluster.supervision.role_group import RoleGroup
from cvd_cluster.supervision.run_progress import RunProgress, Stall
from cvd_cluster.supervision.snapshot import GroupSnapshot
from cvd_cluster.supervision.transitions import event_of, transitions


class Watch:
    """Takes one snapshot after the other.

    Args:
      group: the roles.
      events: told of what happened between two snapshots.
      announce: called with each line for people: the chief's as they are, the others' with the role's name.
      hang_timeout_secs: after how long without a step a role stands still.
    """

    def __init__(
        self, group: RoleGroup, events: EventLog, announce: Callable[[str], None], hang_timeout_secs: float
    ) -> None:
        self._group, self._events, self._announce = group, events, announce
        self._hang_timeout = hang_timeout_secs
        self._before: GroupSnapshot | None = None
        self.progress = RunProgress()
        self.stalls: list[Stall] = []
        """The roles that stand still, the likely culprit first."""

    def look(self) -> GroupSnapshot:
        """A new snapshot."""
        snapshot = self._group.poll()
        self.progress.update(snapshot)
        self.stalls = self.progress.stalls(snapshot, self._hang_timeout)
        for task, status in snapshot.statuses.items():
            prefix = "" if task.role == "chief" else f"[{task.name}] "
            for line in status.lines:
                self._announce(prefix + line)
        for event in transitions(self._before, snapshot):
            self._events.record(event)
        self._before = snapshot
        return snapshot

    def tell_hang(self, names: Collection[str], snapshot: GroupSnapshot) -> None:
        """Tells which roles stand still, and has stacks written into the logs: of all roles, since one that trains may
        wait for any other; of an evaluator, which nobody waits for, its own alone."""
        causes = {stall.name: stall.cause for stall in self.stalls}
        hung = {task: status for task, status in snapshot.statuses.items() if status.name in names}
        for status in hung.values():
            self._events.record(event_of(EventKind.HANG, status, snapshot.time, causes.get(status.name, "")))
        trains = any(task.role != "evaluator" for task in hung)
        for task, line in self._group.dump_stacks(snapshot.statuses if trains else hung).items():
            self._events.record(event_of(EventKind.STACKS, snapshot.statuses[task], snapshot.time, line))

    def tell_steps(self, snapshot: GroupSnapshot, *, started: float) -> None:
        """How many steps each training role made in all its processes, and when the first.

        Args:
          snapshot: with these roles.
          started: seconds since the epoch, when the command began.
        """
        told = []
        for status in snapshot.of_role("chief", "worker"):
            first = self.progress.first_step_time(status.name)
            after = f", the first {first - started:.1f} s after the command began" if first is not None else ""
            told.append(f"{status.name} {self.progress.total_steps(status.name)}{after}")
        self._announce("steps made: " + "; ".join(told))
