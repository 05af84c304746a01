"""The loop: poll, decide, act, report, until the run is over."""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Callable

from cvd_cluster.errors import RoleLostError
from cvd_cluster.preflight import LookAtNodes
from cvd_cluster.roles.role_status import RolePhase
from cvd_cluster.supervision import restart_policy, verdict
from cvd_cluster.supervision.evaluator_care import EvaluatorCare
from cvd_cluster.supervision.event_log import EventKind, EventLog
from cvd_cluster.supervision.generations import Generations
from cvd_cluster.supervision.restart_policy import Action, Decision, RunHistory
from cvd_cluster.supervision.role_group import RoleGroup
from cvd_cluster.supervision.room import Room
from cvd_cluster.supervision.snapshot import GroupSnapshot
from cvd_cluster.supervision.transitions import event_of
from cvd_cluster.supervision.watch import Watch
from cvd_cluster.supervision_options import SupervisionOptions
from estimators.checkpoints.checkpoint_files import Checkpoint, latest_checkpoint
from estimators.experiment_options import ExperimentOptions
from estimators.local_training import check_last_step_saved, newest_checkpoint
from estimators.processes.stop_signals import StopSignals
from estimators.train_dir.generation import FencedError
from estimators.train_dir.run_state import RunState, write_run_state
from estimators.train_dir.train_dir_lock import was_lost
from estimators.training_plan import TrainingPlan

_POLL_SECS = 1.0
# A worker of an asynchronous run may be in its last step when the chief is done.
_LAST_STEP_SECS = 15.0
# All must have stopped within 20 s of a signal.
_SAVING_SECS = 14.0


class Supervisor:
    """Watches one run from its start to its end.

    Args:
      group: the roles.
      room: their bundles.
      options: of the run.
      plan: what all tasks share.
      supervision: budgets and timeouts.
      placement_timeout_secs: how long nodes are waited for when one is lost.
      look_at_nodes: called when other nodes may have come.
      started: seconds since the epoch, when the command began.
      signals: whether somebody asked for the end.
      announce: called with each line for people: the chief's as they are, the others' with the role's name.
      sleep: between two polls.
      clock: seconds, for deadlines.
    """

    def __init__(
        self,
        group: RoleGroup,
        room: Room,
        options: ExperimentOptions,
        plan: TrainingPlan,
        supervision: SupervisionOptions,
        *,
        placement_timeout_secs: float = 0,
        look_at_nodes: LookAtNodes,
        started: float,
        signals: StopSignals,
        announce: Callable[[str], None] = print,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._group, self._room = group, room
        self._options, self._supervision = options, supervision
        self._clock = clock
        self._started, self._signals, self._sleep = started, signals, sleep
        self._logs = os.path.join(options.train_dir, "logs")
        self._events = EventLog(options.train_dir, announce=announce)
        self._generations = Generations(
            group,
            room,
            options,
            plan,
            supervision,
            placement_timeout_secs=placement_timeout_secs,
            look_at_nodes=look_at_nodes,
            events=self._events,
            announce=announce,
            evaluator_is_stranded=lambda: self._evaluator.is_stranded,
            look=self._look,
            pause=self._pause,
        )
        self._watch = Watch(group, self._events, announce, supervision.hang_timeout_secs)
        self._evaluator = EvaluatorCare(
            group, room, self._generations, self._watch, options, supervision, self._events, look_at_nodes=look_at_nodes
        )
        self._history = RunHistory()
        self._trained = False
        self._trouble_since: float | None = None
        self._disturbed_at = float("-inf")

    def run(self) -> None:
        """Returns once the last step is saved, exported and evaluated.

        Raises:
          StoppedError: a signal asked for the end.
          HarnessError: a role failed, or nothing is left to try; or evaluation failed.
        """
        try:
            self._run()
        except FencedError:  # the log is another run's by now
            raise
        except BaseException as error:
            self._events.of_run(EventKind.RUN_ENDED, f"{type(error).__name__}: {verdict.first_line(str(error))}")
            raise
        self._events.of_run(EventKind.RUN_ENDED, RunState.SUCCEEDED.value)

    def _run(self) -> None:
        max_steps = self._generations.plan.max_steps
        self._begin_generation()
        self._until(self._training_ended)
        write_run_state(self._options.train_dir, RunState.EVALUATING, max_steps)
        begun = self._clock()
        snapshot = self._until(
            lambda snapshot: self._workers_ended(snapshot) or self._clock() - begun > _LAST_STEP_SECS
        )
        self._watch.tell_steps(snapshot, started=self._started)
        check_last_step_saved(self._options, max_steps)
        patience = self._supervision.final_evaluation_timeout_secs
        snapshot = self._until(lambda snapshot: self._evaluation_ended(snapshot) or self._clock() - begun > patience)
        self._evaluator.check_ended_well(snapshot)

    def _until(self, reached: Callable[[GroupSnapshot], bool]) -> GroupSnapshot:
        while True:
            snapshot = self._look()
            if self._signals.received is not None:
                self._stop(snapshot)
            if reached(snapshot):
                return snapshot
            self._sleep(_POLL_SECS)

    def _look(self) -> GroupSnapshot:
        """A snapshot; and looks after the evaluator.

        Raises:
          InfrastructureError: Ray is gone.
        """
        self._room.check_served()
        snapshot = self._watch.look()
        over = self._trained = self._trained or verdict.training_is_over(snapshot)
        if self._evaluator.begin_when_due(snapshot, training_is_over=over):
            for evaluator in snapshot.of_role("evaluator"):
                self._watch.progress.begin_clock(evaluator.name, snapshot.clock)
        self._history = self._evaluator.look_after(snapshot, self._history, training_is_over=over)
        return snapshot

    def _pause(self) -> GroupSnapshot:
        """A moment of waiting while nothing trains, and a look."""
        self._sleep(_POLL_SECS)
        if self._signals.received is not None:
            self._events.of_run(EventKind.STOP_REQUESTED, self._signals.received)
            raise self._signals.error(newest_checkpoint(self._options))
        return self._look()

    def _training_ended(self, snapshot: GroupSnapshot) -> bool:
        if verdict.training_is_over(snapshot):
            return True
        troubled = verdict.in_trouble(snapshot)
        self._trouble_since = (self._trouble_since or snapshot.clock) if troubled else None
        decision = restart_policy.decide(
            self._supervision,
            self._generations.plan.strategy,
            self._history,
            snapshot,
            trouble_secs=snapshot.clock - (self._trouble_since or snapshot.clock),
            disturbed=snapshot.clock - self._disturbed_at < restart_policy.DISTURBED_SECS,
            stalls=self._watch.stalls,
            log_folder=self._logs,
        )
        self._obey(decision, snapshot)
        return False

    def _obey(self, decision: Decision, snapshot: GroupSnapshot) -> None:
        if decision.hung:
            self._watch.tell_hang(decision.roles, snapshot)
        if decision.action is Action.FAIL:
            assert decision.error is not None
            raise decision.error
        if decision.action is Action.GO_ON:
            return
        self._trouble_since = None
        if decision.action is Action.NEW_GENERATION:
            self._history = dataclasses.replace(self._history, generations=self._history.generations + decision.charged)
            self._disturbed_at = float("-inf")  # none of those that were there goes on
            self._begin_generation(decision.cause)
            return
        # Not by an error of TensorFlow that was taken for an echo: one of the user's would never be told.
        if any(one.phase is RolePhase.LOST for one in snapshot.statuses.values() if one.name in decision.roles):
            self._disturbed_at = snapshot.clock
        for task, status in snapshot.statuses.items():
            if status.name in decision.roles:
                cause = verdict.how_it_ended(status)
                self._events.record(event_of(EventKind.PROCESS_RESTARTED, status, snapshot.time, cause))
                self._group.restart(task, self._generations.plan, self._generations.number)
        restarts = self._history.process_restarts + len(decision.roles)
        self._history = dataclasses.replace(self._history, process_restarts=restarts)

    def _begin_generation(self, cause: str | None = None) -> None:
        """The first generation, or for a cause another one; one that does not start is charged as well."""
        while True:
            try:
                if cause is None:
                    self._generations.begin()
                else:
                    self._generations.replace(cause)
                return
            except RoleLostError as error:
                if self._history.generations >= self._supervision.max_generations:
                    raise
                cause = verdict.first_line(str(error))
                self._history = dataclasses.replace(self._history, generations=self._history.generations + 1)

    def _stop(self, snapshot: GroupSnapshot) -> None:
        """Has a checkpoint saved, and ends the run.

        Raises:
          StoppedError: it is saved; or it could not be, which the message says then.
          HarnessError: the chief ended with an error of its own.
        """
        self._events.of_run(EventKind.STOP_REQUESTED, self._signals.received or "")
        # A train_dir that is gone or another run's takes no checkpoint.
        if not self._trained and not was_lost(self._options.train_dir):
            before = latest_checkpoint(self._options.train_dir)
            self._group.request_stop()
            deadline = self._clock() + _SAVING_SECS
            # The others are of no use any more once the chief has saved.
            snapshot = self._look()
            while not all(one.phase.is_terminal for one in snapshot.of_role("chief")) and self._clock() <= deadline:
                self._sleep(_POLL_SECS)
                snapshot = self._look()
            self._check_saved(snapshot, before)
        raise self._signals.error(newest_checkpoint(self._options))

    def _check_saved(self, snapshot: GroupSnapshot, before: Checkpoint | None) -> None:
        """To be called when no checkpoint is waited for any more; `before` was the newest when it was asked for.

        Raises:
          HarnessError: the chief ended with an error of its own.
          StoppedError: there is no new checkpoint.
        """
        (chief,) = snapshot.of_role("chief")
        if chief.phase is RolePhase.DONE:
            return
        if chief.failure is not None and not chief.failure.is_echo:
            raise verdict.error_of([chief], self._logs)
        if latest_checkpoint(self._options.train_dir) in (None, before):
            ended = [f"{status.name}: {verdict.how_it_ended(status)}" for status in verdict.in_trouble(snapshot)]
            why = "; ".join(ended) or f"{chief.name} did not save one within {_SAVING_SECS:g} s"
            raise self._signals.error(f"nothing was saved since the signal ({why}); {newest_checkpoint(self._options)}")

    def _evaluation_ended(self, snapshot: GroupSnapshot) -> bool:
        self._evaluator.take_room_if_stranded(snapshot)
        return self._evaluator.has_ended(snapshot)

    def _workers_ended(self, snapshot: GroupSnapshot) -> bool:
        return all(status.phase.is_terminal for status in snapshot.of_role("chief", "worker"))
