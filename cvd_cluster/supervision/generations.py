"""One generation of processes after the other: ended as one, started as one from the last checkpoint."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from cvd_cluster.errors import RoleLostError
from cvd_cluster.preflight import LookAtNodes
from cvd_cluster.supervision.event_log import EventKind, EventLog
from cvd_cluster.supervision.role_group import RoleGroup
from cvd_cluster.supervision.room import Room
from cvd_cluster.supervision.snapshot import GroupSnapshot
from cvd_cluster.supervision_options import SupervisionOptions
from estimators.checkpoints.torn_checkpoints import set_torn_aside
from estimators.errors import InfrastructureError, UserError
from estimators.experiment_options import ExperimentOptions
from estimators.train_dir.generation import begin_generation, check_generation
from estimators.training_plan import TrainingPlan


class Generations:
    """Starts and replaces the processes that train.

    Args:
      group: the roles.
      room: their bundles.
      options: of the run.
      plan: what all tasks share.
      supervision: how long nodes are waited for.
      placement_timeout_secs: how long to wait for nodes.
      look_at_nodes: called when other nodes may have come.
      events: told of all that is done.
      announce: takes a line for people.
      evaluator_is_stranded: whether there was no room for the evaluator for some time.
      look: a look at the roles.
      pause: a moment of waiting, and a look at the roles after it.
    """

    def __init__(
        self,
        group: RoleGroup,
        room: Room,
        options: ExperimentOptions,
        plan: TrainingPlan,
        supervision: SupervisionOptions,
        *,
        placement_timeout_secs: float,
        look_at_nodes: LookAtNodes,
        events: EventLog,
        announce: Callable[[str], None],
        evaluator_is_stranded: Callable[[], bool],
        look: Callable[[], GroupSnapshot],
        pause: Callable[[], GroupSnapshot],
    ) -> None:
        self._group, self._room, self._options = group, room, options
        self.plan = plan
        self._min_workers = supervision.min_workers or room.num_workers
        self._placement_timeout_secs, self._events = placement_timeout_secs, events
        self._look, self._pause, self._look_at_nodes = look, pause, look_at_nodes
        self._announce, self._evaluator_is_stranded = announce, evaluator_is_stranded
        self._moved = False
        self.is_replacing = False
        """True from the end of a generation to the next one."""

    @property
    def number(self) -> int:
        """Of the present generation."""
        return self._events.generation

    def begin(self, cause: str = "") -> None:
        """Starts all processes that train.

        Raises:
          InfrastructureError: they do not start.
        """
        self._events.generation = begin_generation(self._options.train_dir)
        self._events.of_run(EventKind.GENERATION_STARTED, cause)
        moved, self._moved = self._moved, False
        self._group.begin_generation(
            self.number, self._room.tasks, self.plan, self._room.placement_group, moved=moved, pause=self._pause
        )

    def replace(self, cause: str) -> None:
        """Ends the present generation and starts the next one, once nothing of the old one can write any more.

        Args:
          cause: one line for people.

        Raises:
          InfrastructureError: there is no room left, or the processes do not start.
          UserError: a node that has come cannot be used; nothing was started on it.
          FencedError: another command has begun a generation.
        """
        self._events.of_run(EventKind.GENERATION_ENDED, cause)
        self.is_replacing = True
        try:
            self._group.end_processes()
            self._look()  # so that their end is told
            self._find_room()
            # Others may be lost while room is looked for.
            while (gone_at := self._last_is_gone_at()) and self._pause().clock < gone_at:
                pass
            self._check_nodes()
            # In a folder that is another one now, a mount point say, training would begin at step 0; and another
            # command may have taken this run for dead while it stood still.
            check_generation(self._options.train_dir, self.number)
            # A machine that lost its power may have lost the end of what it wrote last.
            set_torn_aside(self._options.train_dir, announce=self._announce)
            self.begin(cause)
        finally:
            self.is_replacing = False

    def _check_nodes(self) -> None:
        # They have the first bundles. The evaluator's node is nothing to those that train.
        training = [task for task in self._room.tasks if task.role != "evaluator"]
        try:
            self._look_at_nodes(training, self._room.placement_group, self._pause)
        except InfrastructureError as error:  # it was lost again meanwhile, say
            raise RoleLostError(error.summary, asked=error.asked, found=error.found, change=error.change) from error
        if self._moved and len(training) < len(self._room.tasks):
            try:
                self._look_at_nodes(self._room.tasks, self._room.placement_group, self._pause)
            except (UserError, InfrastructureError) as error:  # and no other: a stop that is asked for is obeyed
                self._announce(f"the evaluator waits until training has ended: {error.summary}")
                self._room.tasks = tuple(training)
        if not self._room.is_whole():
            raise RoleLostError("Another node was lost before the next generation began")

    def _last_is_gone_at(self) -> float:
        return max((loss.gone_at for loss in self._group.losses()), default=0.0)

    def _find_room(self) -> None:
        if self._room.is_whole():
            return
        self._events.of_run(
            EventKind.WAITING_FOR_NODES, f"up to --placement_timeout_secs={self._placement_timeout_secs:g} s"
        )
        if self._evaluator_is_stranded():
            # Ray places all bundles that have no node or none: a worker would wait for the evaluator's too.
            self._moved = True
            self._room.keep([task for task in self._room.tasks if task.role != "evaluator"])
        if self._room.wait_until_whole(self._placement_timeout_secs, pause=self._pause):
            return
        before = self._room.num_workers
        self._moved = True
        self._room.shrink(self._min_workers, pause=self._pause)
        now = self._room.num_workers
        if now == before:
            return
        self._events.of_run(EventKind.FEWER_WORKERS, f"{now} instead of {before}")
        share = self.plan.examples_per_step * now // before
        synchronous = self.plan.strategy == "multi_worker_mirrored"
        self.plan = dataclasses.replace(
            self.plan, num_workers=now, examples_per_step=share if synchronous else self.plan.examples_per_step
        )
