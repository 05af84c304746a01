"""One role's actor as the command sees it: called, polled, and found to be gone."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from typing import Any

import ray
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from cvd_cluster.ray_session import in_ray_job
from cvd_cluster.reachable_nodes import is_reachable, node_at
from cvd_cluster.roles.role_actor import RoleActor
from cvd_cluster.roles.role_status import ActorLoss, RolePhase, RoleStatus
from cvd_cluster.topology import Task
from estimators.experiment_options import ExperimentOptions
from estimators.training_plan import TrainingPlan

# An actor that is silent for so long, though Ray says that it lives, is ended.
_SILENCE_SECS = 30.0
# For what a process that is to be replaced said last.
_LAST_ANSWER_SECS = 2.0
# Between the end of an orphan's patience and that of its process.
_MARGIN_SECS = 2.0
# Longer than an actor takes to start where there is room for it.
_PENDING_SECS = 30.0

# `ray job stop` leaves the command 3 s. At the end of an actor Ray kills what it started, also a process that is still
# to write a checkpoint; a role's process that is not ends with its actor by itself (roles/orders.py).
# https://github.com/ray-project/ray/blob/master/src/ray/common/ray_config_def.h
_IN_A_JOB = {"RAY_kill_child_processes_on_worker_exit": "false"}


class RoleHandle:
    """Starts an actor in its bundle, and keeps what it said last.

    Args:
      task: which role.
      options: of the run.
      orphan_timeout_secs: see RoleActor.
      placement_group: Ray's.
      bundle: the number of the role's bundle in it.
    """

    def __init__(
        self, task: Task, options: ExperimentOptions, orphan_timeout_secs: float, placement_group: Any, bundle: int
    ) -> None:
        self.task = task
        self._orphan_timeout = orphan_timeout_secs
        self.actor = (
            ray.remote(RoleActor)
            .options(
                num_cpus=task.cpus,
                num_gpus=task.gpus,
                max_restarts=0,
                runtime_env={"env_vars": _IN_A_JOB} if in_ray_job() else {},
                scheduling_strategy=PlacementGroupSchedulingStrategy(
                    placement_group, placement_group_bundle_index=bundle
                ),
            )
            .remote(task, options, orphan_timeout_secs)
        )
        self.status = RoleStatus(task.name)
        self._call: Any = None
        self._beginning: Any = None
        self._asked_at: float | None = None
        self._answered_at: float | None = None
        self._node: str | None = None
        self._unsaid: tuple[str, ...] = ()

    @property
    def is_lost(self) -> bool:
        """True once the actor is gone."""
        return self.status.loss is not None

    def prepare(self, plan: TrainingPlan, generation: int) -> None:
        """Has the actor start a process; if it cannot, the role is lost."""
        self._beginning = self.actor.prepare.remote(plan, generation)

    def ask(self) -> Any:
        """The call for a status that is under way; a new one if there is none. None if the actor is lost."""
        if self._call is None and not self.is_lost:
            self._call = self.actor.poll.remote()
            # From the first question that has no answer, not from the last answer: the command itself may have stood
            # still meanwhile.
            self._asked_at = self._asked_at or time.monotonic()
        return self._call

    def take_answer(self) -> RoleStatus:
        """The newest status; lines are in it once."""
        self.status = dataclasses.replace(self.status, lines=())
        self._look_at_beginning()
        if self._call is None:
            return self.status
        try:
            status = ray.get(self._call, timeout=0)
            self.status = dataclasses.replace(status, lines=self._unsaid + status.lines)
            if self._node is None:
                self._node = node_at(status.host)
            self._call, self._asked_at, self._unsaid = None, None, ()
            self._answered_at = time.monotonic()
        except ray.exceptions.GetTimeoutError:
            self._judge_silence(time.monotonic())
        except ray.exceptions.ActorUnavailableError:
            self._call = None  # out of reach for the moment; Ray says when it is gone
        except ray.exceptions.RayActorError as error:
            self.lose(_last_line(error), preempted=bool(error.preempted))
        except ray.exceptions.RayError as error:
            self.lose(_last_line(error))
        return self.status

    def _look_at_beginning(self) -> None:
        if self._beginning is None:
            return
        try:
            ray.get(self._beginning, timeout=0)
        except ray.exceptions.GetTimeoutError:
            return
        except ray.exceptions.RayTaskError as error:  # the node has no process or file left to give, say
            self.lose(f"its process did not start: {_last_line(error)}")
        except ray.exceptions.RayError:
            pass  # what became of the actor is told by its status
        self._beginning = None

    def _judge_silence(self, now: float) -> None:
        silent = now - (self._asked_at or now)
        if self._answered_at is not None:
            if silent > _SILENCE_SECS:
                self.lose(f"its actor has not answered for {_SILENCE_SECS:g} s")
        elif silent > _PENDING_SECS:
            # Ray starts it as soon as its bundle is on a node again; there is nothing to mend.
            self.status = dataclasses.replace(self.status, awaits_node=True)

    def forget_process(self) -> None:
        """Before a new process is asked for: what is known of the old one must not be taken for the new one's."""
        if self._call is not None:
            ray.wait([self._call], timeout=_LAST_ANSWER_SECS)
            self._unsaid = self.take_answer().lines
        if not self.is_lost:
            self._call = None
            self.status = RoleStatus(self.task.name, address=self.status.address)

    def lose(self, cause: str, *, preempted: bool = False) -> None:
        """Ends the actor, and takes it and its process for lost."""
        self.kill()
        if self._node is not None and is_reachable(self._node):
            gone_at = time.monotonic()
        else:
            # Up to this moment it may have heard from the command: the heartbeat beats for all that are not lost.
            gone_at = time.monotonic() + self._orphan_timeout + _MARGIN_SECS
            cause = f"{'it had not answered yet' if self._answered_at is None else 'its node is gone'}: {cause}"
        self._call = None
        self.status = dataclasses.replace(
            self.status, phase=RolePhase.LOST, exit_code=None, failure=None, loss=ActorLoss(cause, preempted, gone_at)
        )

    def kill(self) -> None:
        """Ends the actor, and so its process."""
        with contextlib.suppress(ray.exceptions.RayError):
            ray.kill(self.actor, no_restart=True)


def _last_line(error: Exception) -> str:
    line = (str(error).strip().splitlines() or [type(error).__name__])[-1].strip()
    return line.partition(" Some common causes")[0].partition(" Worker exit detail: ")[0]
