"""Which role has made no step for how long, by the command's own clock, and how many steps each made in all."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from cvd_cluster.roles.role_status import RoleStatus
from cvd_cluster.supervision.snapshot import GroupSnapshot

# To import TensorFlow, to build the graph and to fill the first batch on a busy machine.
_START_SECS = 120.0
# Synchronous workers stop in the same step; what two looks tell of it is not of one moment.
SAME_STEP_SECS = 3.0


@dataclass(frozen=True)
class Stall:
    """A role that stands still.

    Attributes:
      name: `worker-0`.
      seconds: for how long.
      halted: whether its process is stopped by a signal.
    """

    name: str
    seconds: float
    halted: bool

    @property
    def cause(self) -> str:
        """One line for people."""
        if self.halted:
            return "its process was stopped by a signal (SIGSTOP)"
        return f"no step for {self.seconds:.0f} s"


@dataclass(frozen=True)
class _Seen:
    pid: int
    steps: int
    since: float
    earlier_steps: int = 0
    first_step_time: float | None = None


class RunProgress:
    """Fed with every snapshot."""

    def __init__(self) -> None:
        self._seen: dict[str, _Seen] = {}

    def update(self, snapshot: GroupSnapshot) -> None:
        """Takes a snapshot in."""
        for status in snapshot.statuses.values():
            self._seen[status.name] = self._newer(self._seen.get(status.name), status, snapshot.clock)

    @staticmethod
    def _newer(seen: _Seen | None, status: RoleStatus, now: float) -> _Seen:
        if seen is None:
            return _Seen(status.pid, status.local_steps, now, 0, status.first_step_time)
        first = seen.first_step_time or status.first_step_time
        if seen.pid != status.pid:
            return _Seen(status.pid, status.local_steps, now, seen.earlier_steps + seen.steps, first)
        if seen.steps != status.local_steps:
            return dataclasses.replace(seen, steps=status.local_steps, since=now, first_step_time=first)
        return seen

    def begin_clock(self, name: str, now: float) -> None:
        """Nothing was expected of the role up to now."""
        if name in self._seen:
            self._seen[name] = dataclasses.replace(self._seen[name], since=now)

    def total_steps(self, name: str) -> int:
        """Steps of all processes that the role had."""
        seen = self._seen[name]
        return seen.earlier_steps + seen.steps

    def first_step_time(self, name: str) -> float | None:
        """Seconds since the epoch, when its first process made its first step; None before."""
        return self._seen[name].first_step_time

    def stalls(self, snapshot: GroupSnapshot, timeout_secs: float) -> list[Stall]:
        """The roles that made no step for longer than the timeout, the likely culprit first.

        If one that trains is among them, also those that will exceed it in a moment.

        A process that has made no step yet has two minutes at least.

        A process that is stopped by a signal is one, also a parameter server, which makes no steps of its own; else the
        one whose last step lies back furthest: the others wait for it.
        """
        late: list[Stall] = []
        soon: list[Stall] = []
        for task, status in snapshot.statuses.items():
            seen = self._seen[status.name]
            ended = status.phase.is_terminal or status.training_finished or status.pid < 0
            patience = timeout_secs if seen.steps else max(timeout_secs, _START_SECS)
            still = snapshot.clock - seen.since
            if ended or task.role == "ps" or still <= patience - SAME_STEP_SECS:
                continue
            (late if still > patience else soon).append(Stall(status.name, still, status.halted))
        if any(not stall.name.startswith("evaluator") for stall in late):
            late += [stall for stall in soon if not stall.name.startswith("evaluator")]
            late += [
                Stall(status.name, 0.0, True)
                for status in snapshot.of_role("ps")
                if status.halted and not status.phase.is_terminal
            ]
        return sorted(late, key=lambda stall: (not stall.halted, -stall.seconds))
