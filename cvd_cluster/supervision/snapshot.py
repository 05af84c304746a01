"""All roles of a run at one moment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from cvd_cluster.roles.role_status import RoleStatus
from cvd_cluster.topology import Task


@dataclass(frozen=True)
class GroupSnapshot:
    """All roles at one moment.

    Attributes:
      time: seconds since the epoch, for people.
      clock: seconds of a clock that is never set and stands still while the machine sleeps, for all that is measured.
      statuses: task -> its status.
    """

    time: float
    clock: float
    statuses: Mapping[Task, RoleStatus]

    def of_role(self, *roles: str) -> list[RoleStatus]:
        """The statuses of all tasks of these roles."""
        return [status for task, status in self.statuses.items() if task.role in roles]
