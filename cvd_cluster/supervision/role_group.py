"""All roles of one run: started together, looked at together, ended together."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any

import ray

from cvd_cluster.errors import RoleLostError
from cvd_cluster.roles.role_status import ActorLoss
from cvd_cluster.supervision.heartbeat import Heartbeat
from cvd_cluster.supervision.role_handle import RoleHandle
from cvd_cluster.supervision.snapshot import GroupSnapshot
from cvd_cluster.tf_config import tf_config_for
from cvd_cluster.topology import Task
from estimators.experiment_options import ExperimentOptions
from estimators.training_plan import TrainingPlan

_START_SECS = 120.0
# In which actors start where nothing is wrong; what takes longer must not keep a signal from being obeyed.
_QUICK_START_SECS = 5.0
_POLL_SECS = 1.0
_STOP_SECS = 10.0


class RoleGroup:
    """The actors of a run's tasks.

    A new generation keeps the actors that live, with their ports, and has them start new processes; in the place of
    those that are gone it makes new ones. The evaluator belongs to no generation.

    Args:
      options: of the run.
      orphan_timeout_secs: see RoleActor.
    """

    def __init__(self, options: ExperimentOptions, orphan_timeout_secs: float) -> None:
        self._options, self._orphan_timeout = options, orphan_timeout_secs
        self._handles: dict[Task, RoleHandle] = {}
        self._addresses: dict[Task, str] = {}
        self._evaluator_began = False
        self._heartbeat = Heartbeat(self._handles.values, every_secs=orphan_timeout_secs / 5)

    def begin_generation(
        self,
        number: int,
        tasks: Sequence[Task],
        plan: TrainingPlan,
        placement_group: Any,
        *,
        moved: bool = False,
        pause: Callable[[], object],
    ) -> None:
        """Starts a process for every task, an evaluator's only if there is none; those that train begin at once.

        Args:
          number: of the generation.
          tasks: in the order of the placement group's bundles.
          plan: what all tasks share.
          placement_group: Ray's, with a bundle a task.
          moved: whether it is another placement group than before, so that the actors in that one are gone.
          pause: called while the actors take their time; what it raises ends the start.

        Raises:
          RoleLostError: a role does not start.
        """
        for task in list(self._handles):
            if task.role == "evaluator":  # one that is lost begins again when it has a node
                stale = moved and task in tasks
            else:
                stale = moved or task not in tasks or self._handles[task].is_lost
            if stale:
                self._handles.pop(task).kill()
        new = [task for task in tasks if task not in self._handles]
        for bundle, task in enumerate(tasks):
            if task in new:
                self._handles[task] = RoleHandle(task, self._options, self._orphan_timeout, placement_group, bundle)
        training = [task for task in tasks if task.role != "evaluator"]
        for task in training:
            self._handles[task].forget_process()
        for task in set(new) - set(training):
            self._prepare_and_start(task, plan, number)
        try:
            calls = [self._handles[task].actor.prepare.remote(plan, number) for task in training]
            self._addresses = dict(zip(training, _answers(calls, pause), strict=True))
            _answers([self._start(task) for task in training], pause)
        except (ray.exceptions.RayError, ray.exceptions.GetTimeoutError) as error:
            raise RoleLostError(
                "The roles of the run do not start",
                asked=", ".join(task.name for task in tasks),
                found=str(error).strip().splitlines()[-1],
                change="see the logs of Ray on the node, or try again",
            ) from error

    def _start(self, task: Task) -> Any:
        return self._handles[task].actor.start.remote(tf_config_for(task, self._addresses))

    def restart(self, task: Task, plan: TrainingPlan, number: int) -> None:
        """Starts a new process of a role whose actor lives, at the same address."""
        self._handles[task].forget_process()
        self._prepare_and_start(task, plan, number)

    def replace(self, task: Task, plan: TrainingPlan, number: int, placement_group: Any, bundle: int) -> None:
        """Starts a new actor with a new process for a role without an address that others know: the evaluator."""
        self._handles[task].kill()
        self._handles[task] = RoleHandle(task, self._options, self._orphan_timeout, placement_group, bundle)
        self._prepare_and_start(task, plan, number)

    def _prepare_and_start(self, task: Task, plan: TrainingPlan, number: int) -> None:
        self._handles[task].prepare(plan, number)
        if task.role != "evaluator" or self._evaluator_began:
            self._start(task)

    def start_evaluator(self) -> None:
        """Lets the evaluator begin, if there is one; the other roles begin by themselves."""
        self._evaluator_began = True
        for task, handle in self._handles.items():
            if task.role == "evaluator":
                handle.actor.start.remote({})

    def poll(self) -> GroupSnapshot:
        """One snapshot of all roles; of one that does not answer at once, what it said last."""
        calls = [call for handle in self._handles.values() if (call := handle.ask()) is not None]
        if calls:
            ray.wait(calls, num_returns=len(calls), timeout=_POLL_SECS)
        statuses = {task: handle.take_answer() for task, handle in self._handles.items()}
        return GroupSnapshot(time.time(), time.monotonic(), statuses)

    def request_stop(self) -> None:
        """Asks every process that trains to save and end; a ps only outlives its actor, since it has the variables."""
        for task, handle in self._living():
            if task.role != "evaluator":
                handle.actor.request_stop.remote()

    def dump_stacks(self, tasks: Collection[Task]) -> dict[Task, str]:
        """What the processes of these do, into their logs; for each role whose actor lives a line about that."""
        calls = {task: handle.actor.dump_stacks.remote() for task, handle in self._living() if task in tasks}
        ray.wait(list(calls.values()), num_returns=len(calls), timeout=_STOP_SECS)
        told = {}
        for task, call in calls.items():
            try:
                told[task] = str(ray.get(call, timeout=0))
            except ray.exceptions.RayError as error:
                told[task] = f"no stacks: {type(error).__name__}"
        return told

    def end_processes(self) -> None:
        """Ends the processes of all roles but the evaluator; where that cannot be confirmed, the actor too."""
        calls = {task: h.actor.end_process.remote() for task, h in self._living() if task.role != "evaluator"}
        if calls:
            ray.wait(list(calls.values()), num_returns=len(calls), timeout=_STOP_SECS)
        for task, call in calls.items():
            try:
                ray.get(call, timeout=0)
            except ray.exceptions.RayError:
                self._handles[task].lose("it did not end its process")

    def end_actors_that_trained(self) -> None:
        """So that others can have their room; what they said last stays."""
        for task, handle in self._living():
            if task.role != "evaluator":
                handle.kill()

    def end(self, task: Task) -> None:
        """Ends the process of one role, and starts no other."""
        self._handles[task].actor.end_process.remote()

    def losses(self) -> list[ActorLoss]:
        """Of all actors that are gone."""
        return [handle.status.loss for handle in self._handles.values() if handle.status.loss is not None]

    def _living(self) -> Iterable[tuple[Task, RoleHandle]]:
        return [(task, handle) for task, handle in self._handles.items() if not handle.is_lost]

    def stop(self) -> None:
        """Ends every process and every actor."""
        self._heartbeat.end()
        with contextlib.suppress(ray.exceptions.RayError):
            calls = [handle.actor.stop.remote() for _, handle in self._living()]
            if calls:
                ray.wait(calls, num_returns=len(calls), timeout=_STOP_SECS)
        for handle in self._handles.values():
            handle.kill()


def _answers(calls: Sequence[Any], pause: Callable[[], object]) -> list[Any]:
    until, patience = time.monotonic() + _START_SECS, _QUICK_START_SECS
    while True:
        try:
            return list(ray.get(calls, timeout=patience))
        except ray.exceptions.GetTimeoutError:
            if time.monotonic() > until:
                raise
        pause()
        patience = _POLL_SECS
