"""The evaluator of a run: begun when it is of use, started again when it died, never in the way of training."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import os

from cvd_cluster.preflight import LookAtNodes
from cvd_cluster.roles.role_status import RolePhase, RoleStatus
from cvd_cluster.supervision import restart_policy
from cvd_cluster.supervision.event_log import EventKind, EventLog
from cvd_cluster.supervision.generations import Generations
from cvd_cluster.supervision.restart_policy import Action, RunHistory
from cvd_cluster.supervision.role_group import RoleGroup
from cvd_cluster.supervision.room import Room
from cvd_cluster.supervision.snapshot import GroupSnapshot
from cvd_cluster.supervision.transitions import event_of
from cvd_cluster.supervision.watch import Watch
from cvd_cluster.supervision_options import SupervisionOptions
from cvd_cluster.topology import Task
from estimators.checkpoints.checkpoint_files import mark_watched
from estimators.errors import HarnessError, InfrastructureError
from estimators.experiment_options import ExperimentOptions
from estimators.local_training import check_last_evaluated

_MARK_SECS = 5.0
_STRANDED_SECS = 30.0
# Of its new node, beside the training that goes on.
_LOOK_AGAIN_SECS, _LOOK_PAUSES = 30.0, 5


class EvaluatorCare:
    """Looks after the evaluator, if the run has one.

    Args:
      group: the roles.
      room: their bundles.
      generations: knows the plan and the present generation.
      watch: knows who stands still.
      options: of the run.
      supervision: its budget.
      events: told of all that is done.
      look_at_nodes: called before it begins on another node.
    """

    def __init__(
        self,
        group: RoleGroup,
        room: Room,
        generations: Generations,
        watch: Watch,
        options: ExperimentOptions,
        supervision: SupervisionOptions,
        events: EventLog,
        *,
        look_at_nodes: LookAtNodes,
    ) -> None:
        self._group, self._room, self._generations = group, room, generations
        self._watch, self._events = watch, events
        self._options, self._supervision = options, supervision
        self._look_at_nodes = look_at_nodes
        self._begun_at = float("inf")
        self._marked_at = float("-inf")
        self._waits_since: float | None = None
        self._seen_at, self._looked_at = float("-inf"), float("-inf")
        self.given_up: HarnessError | None = None
        """Why it is not started any more."""

    def begin_when_due(self, snapshot: GroupSnapshot, *, training_is_over: bool) -> bool:
        """Once the chief made a step there is a checkpoint to look at, and start-up no longer needs all processors.

        Returns:
          Whether it begins now.
        """
        training = any(chief.first_step_time is not None for chief in snapshot.of_role("chief"))
        if self._begun_at == float("inf") and (training or training_is_over):
            self._begun_at = snapshot.clock
            self._group.start_evaluator()
            return True
        return False

    def look_after(self, snapshot: GroupSnapshot, history: RunHistory, *, training_is_over: bool) -> RunHistory:
        """Starts it again if it must be; the history with that in it."""
        self._seen_at = snapshot.clock
        self._mark_watched(snapshot)
        for task, status in snapshot.statuses.items():
            if task.role != "evaluator" or self.given_up is not None:
                continue
            decision = restart_policy.decide_on_evaluator(
                self._supervision,
                history,
                status,
                training_is_over=training_is_over,
                # In the look in which it began nothing was expected of it yet.
                stalls=self._watch.stalls if snapshot.clock > self._begun_at else (),
                log_folder=os.path.join(self._options.train_dir, "logs"),
            )
            if decision.hung:
                self._watch.tell_hang([status.name], snapshot)
            if decision.action is Action.FAIL:
                self.given_up = decision.error
                if not status.phase.is_terminal:
                    self._group.end(task)  # it hangs, and would keep its memory
                cause = str(decision.error.summary) if decision.error else ""
                self._events.record(event_of(EventKind.EVALUATOR_GIVEN_UP, status, snapshot.time, cause))
            elif decision.action is Action.RESTART:
                # While room is found for a new generation its actor may be gone with the old room.
                replacing = status.loss is not None and self._generations.is_replacing
                if replacing or (status.loss is not None and not self._may_begin_anew(task, status, snapshot)):
                    continue
                self._events.record(event_of(EventKind.PROCESS_RESTARTED, status, snapshot.time, decision.cause))
                number, plan = self._generations.number, self._generations.plan
                if status.loss is None:
                    self._group.restart(task, plan, number)
                else:
                    bundle = self._room.bundle_of(task)
                    self._group.replace(task, plan, number, self._room.placement_group, bundle)
                if decision.charged:
                    history = dataclasses.replace(history, evaluator_restarts=history.evaluator_restarts + 1)
        return history

    def _mark_watched(self, snapshot: GroupSnapshot) -> None:
        """Its checkpoints are kept while it starts, hangs, or takes long for a batch: another one will want them."""
        there = snapshot.clock >= self._begun_at and self.given_up is None and self._waits_since is None
        if there and snapshot.of_role("evaluator") and snapshot.clock - self._marked_at >= _MARK_SECS:
            with contextlib.suppress(OSError):  # a full disk is told by those that train
                mark_watched(self._options.train_dir)
            self._marked_at = snapshot.clock

    def _may_begin_anew(self, task: Task, status: RoleStatus, snapshot: GroupSnapshot) -> bool:
        """Whether there is a node for it, one that was looked at."""
        if not self._room.has_node(task):
            if self._waits_since is None:
                cause = "no node has room for it now; training goes on"
                self._events.record(event_of(EventKind.WAITING_FOR_NODES, status, snapshot.time, cause))
                self._waits_since = snapshot.clock
            return False
        self._waits_since = None
        if snapshot.clock - self._looked_at < _LOOK_AGAIN_SECS:
            return False
        self._looked_at = snapshot.clock
        waits = itertools.count()

        def pause() -> None:
            if next(waits) >= _LOOK_PAUSES:  # those that train must be looked at meanwhile
                raise InfrastructureError("A node takes long to answer")

        try:
            self._look_at_nodes(self._room.tasks, self._room.placement_group, pause)
        except (InfrastructureError, OSError):  # it was lost again, or will answer later; of a disk others tell
            return False
        except HarnessError as error:
            self.given_up = error
            self._events.record(event_of(EventKind.EVALUATOR_GIVEN_UP, status, snapshot.time, error.summary))
            return False
        self._looked_at = float("-inf")
        return True

    @property
    def is_stranded(self) -> bool:
        """True if there was no room for it for so long that it is not lost with what is lost now."""
        return self._waits_since is not None and self._seen_at - self._waits_since > _STRANDED_SECS

    def take_room_if_stranded(self, snapshot: GroupSnapshot) -> None:
        """To be called after training: if its node is gone, it has the room of those that trained."""
        stranded = [
            task
            for task, status in snapshot.statuses.items()
            if task.role == "evaluator"
            and (status.loss is not None or status.awaits_node)
            and not self._room.has_node(task)
        ]
        if stranded and self.given_up is None and any(task.role != "evaluator" for task in self._room.tasks):
            self._group.end_actors_that_trained()
            self._room.keep(stranded)

    def has_ended(self, snapshot: GroupSnapshot) -> bool:
        """True if it evaluates nothing more, or if there is none."""
        evaluators = snapshot.of_role("evaluator")
        return self.given_up is not None or all(one.phase is RolePhase.DONE for one in evaluators)

    def check_ended_well(self, snapshot: GroupSnapshot) -> None:
        """To be called after training, when nothing more is waited for.

        Raises:
          HarnessError: it was given up, or the last checkpoint is not evaluated.
        """
        if self.given_up is not None:
            raise self.given_up
        for evaluator in snapshot.of_role("evaluator"):
            done = evaluator.phase is RolePhase.DONE
            how = "the evaluator ended by itself" if done else "it was ended after --final_evaluation_timeout_secs"
            data = self._generations.plan.eval_data
            assert data is not None, "there is an evaluator"
            check_last_evaluated(self._options, data, how)
