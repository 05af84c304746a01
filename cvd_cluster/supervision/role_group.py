"""All roles of one run: started together, looked at together, ended together."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cvd_cluster.roles.role_actor import RoleActor
from cvd_cluster.roles.role_status import RolePhase, RoleStatus
from cvd_cluster.tf_config import tf_config_for
from cvd_cluster.topology import Task
from estimators.errors import InfrastructureError
from estimators.experiment_options import ExperimentOptions
from estimators.training_plan import TrainingPlan

_START_SECS = 120.0
_POLL_SECS = 10.0
_STOP_SECS = 10.0


@dataclass(frozen=True)
class GroupSnapshot:
    """All roles at one moment.

    Attributes:
      time: seconds since the epoch.
      statuses: task -> its status.
    """

    time: float
    statuses: Mapping[Task, RoleStatus]

    def of_role(self, *roles: str) -> list[RoleStatus]:
        """The statuses of all tasks of these roles."""
        return [status for task, status in self.statuses.items() if task.role in roles]


class RoleGroup:
    """The actors of a run's tasks. All but the evaluator begin at once.

    Args:
      tasks: in the order of the placement group's bundles.
      options: of the run.
      plan: what all tasks share.
      placement_group: Ray's, with a bundle a task.

    Raises:
      InfrastructureError: an actor does not start.
    """

    def __init__(
        self, tasks: Sequence[Task], options: ExperimentOptions, plan: TrainingPlan, placement_group: Any
    ) -> None:
        import ray
        from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

        self._last: dict[Task, RoleStatus] = {}
        actor = ray.remote(RoleActor)
        self._actors = {
            task: actor.options(
                num_cpus=task.cpus,
                num_gpus=task.gpus,
                max_restarts=0,
                scheduling_strategy=PlacementGroupSchedulingStrategy(
                    placement_group, placement_group_bundle_index=index
                ),
            ).remote(task, options, plan)
            for index, task in enumerate(tasks)
        }
        try:
            calls = [handle.address.remote() for handle in self._actors.values()]
            addresses = dict(zip(self._actors, ray.get(calls, timeout=_START_SECS), strict=True))
            ray.get(
                [
                    handle.start.remote(tf_config_for(task, addresses))
                    for task, handle in self._actors.items()
                    if task.role != "evaluator"
                ]
            )
        except (ray.exceptions.RayError, ray.exceptions.GetTimeoutError) as error:
            self.stop()
            raise InfrastructureError(
                "The roles of the run do not start",
                asked=", ".join(task.name for task in tasks),
                found=str(error).strip().splitlines()[-1],
                change="see the logs of Ray on the node, or try again",
            ) from error

    def start_evaluator(self) -> None:
        """Lets the evaluator begin, if there is one; the other roles begin by themselves."""
        for task, handle in self._actors.items():
            if task.role == "evaluator":
                handle.start.remote({})

    def poll(self) -> GroupSnapshot:
        """One snapshot of all roles. An actor that does not answer, since it is gone, is a lost role."""
        import ray

        calls = {task: handle.poll.remote() for task, handle in self._actors.items()}
        ray.wait(list(calls.values()), num_returns=len(calls), timeout=_POLL_SECS)
        for task, call in calls.items():
            try:
                self._last[task] = ray.get(call, timeout=0)
            except ray.exceptions.GetTimeoutError:
                self._last[task] = self._without_lines(task)
            except ray.exceptions.RayError:
                self._last[task] = dataclasses.replace(self._without_lines(task), phase=RolePhase.LOST)
        return GroupSnapshot(time.time(), dict(self._last))

    def _without_lines(self, task: Task) -> RoleStatus:
        unknown = RoleStatus(task.name, RolePhase.STARTING, -1, "", -1, 0, None, False, None, None, ())
        return dataclasses.replace(self._last.get(task, unknown), lines=())

    def stop(self) -> None:
        """Ends every process and every actor."""
        import ray

        with contextlib.suppress(ray.exceptions.RayError):
            calls = [handle.stop.remote() for handle in self._actors.values()]
            ray.wait(calls, num_returns=len(calls), timeout=_STOP_SECS)
        for handle in self._actors.values():
            ray.kill(handle, no_restart=True)
