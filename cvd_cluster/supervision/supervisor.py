"""The loop: poll, decide, act, report, until the run is over."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from cvd_cluster.roles.role_status import RolePhase, RoleStatus
from cvd_cluster.supervision import verdict
from cvd_cluster.supervision.role_group import GroupSnapshot, RoleGroup
from estimators.errors import HarnessError
from estimators.experiment_options import ExperimentOptions
from estimators.local_training import check_last_evaluated
from estimators.run_state import RunState, write_run_state
from estimators.training_plan import TrainingPlan

_POLL_SECS = 0.5
# A worker of an asynchronous run may be in its last step when the chief is done.
_LAST_STEP_SECS = 15.0


class Supervisor:
    """Watches one group of roles from its start to its end.

    Args:
      group: the roles.
      options: of the run.
      plan: what all tasks share.
      started: seconds since the epoch, when the command began.
      announce: called with each line for people: the chief's as they are, the others' with the role's name.
      sleep: between two polls.
    """

    def __init__(
        self,
        group: RoleGroup,
        options: ExperimentOptions,
        plan: TrainingPlan,
        *,
        started: float,
        announce: Callable[[str], None] = print,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._group, self._options, self._plan = group, options, plan
        self._started, self._announce, self._sleep = started, announce, sleep
        self._logs = os.path.join(options.train_dir, "logs")
        self._trouble_since: float | None = None
        self._evaluator_told = False
        self._evaluator_started = False

    def run(self) -> GroupSnapshot:
        """Returns the last snapshot, once the last step is saved, exported and evaluated.

        Raises:
          HarnessError: a role failed or was lost; or evaluation did.
        """
        self._until(self._training_ended)
        deadline = time.monotonic() + _LAST_STEP_SECS
        snapshot = self._until(lambda snapshot: self._workers_ended(snapshot) or time.monotonic() > deadline)
        self._announce("steps made: " + "; ".join(map(self._steps_of, snapshot.of_role("chief", "worker"))))
        write_run_state(self._options.train_dir, RunState.EVALUATING, self._plan.max_steps)
        snapshot = self._until(self._evaluation_ended)
        self._check_evaluation(snapshot)
        return snapshot

    def _until(self, reached: Callable[[GroupSnapshot], bool]) -> GroupSnapshot:
        while True:
            snapshot = self._group.poll()
            self._print_lines(snapshot)
            self._start_evaluator_when_due(snapshot)
            if reached(snapshot):
                return snapshot
            self._sleep(_POLL_SECS)

    def _training_ended(self, snapshot: GroupSnapshot) -> bool:
        if verdict.training_is_over(snapshot):
            return True
        troubled = verdict.in_trouble(snapshot)
        if troubled:
            self._trouble_since = self._trouble_since or snapshot.time
            waited = snapshot.time - self._trouble_since
            if verdict.cause_is_known(troubled) or waited > verdict.ECHO_SECS:
                raise verdict.error_of(troubled, self._logs)
        self._tell_evaluator_trouble(snapshot)
        return False

    def _steps_of(self, status: RoleStatus) -> str:
        first = ""
        if status.first_step_time is not None:
            first = f", the first {status.first_step_time - self._started:.1f} s after the command began"
        return f"{status.name} {status.local_steps}{first}"

    def _workers_ended(self, snapshot: GroupSnapshot) -> bool:
        return all(status.phase.is_terminal for status in snapshot.of_role("chief", "worker"))

    def _evaluation_ended(self, snapshot: GroupSnapshot) -> bool:
        return all(status.phase.is_terminal for status in snapshot.of_role("evaluator"))

    def _start_evaluator_when_due(self, snapshot: GroupSnapshot) -> None:
        """Once the chief made a step there is a checkpoint to look at, and start-up no longer needs all processors."""
        training = any(chief.first_step_time is not None for chief in snapshot.of_role("chief"))
        if not self._evaluator_started and (training or verdict.training_is_over(snapshot)):
            self._evaluator_started = True
            self._group.start_evaluator()

    def _evaluator_error(self, evaluator: RoleStatus) -> HarnessError | None:
        if evaluator.phase in (RolePhase.FAILED, RolePhase.LOST):
            return verdict.error_of([evaluator], self._logs)
        return None

    def _tell_evaluator_trouble(self, snapshot: GroupSnapshot) -> None:
        for evaluator in snapshot.of_role("evaluator"):
            error = self._evaluator_error(evaluator)
            if error is not None and not self._evaluator_told:
                self._evaluator_told = True
                self._announce(f"the evaluator ended; training goes on. {error}")

    def _check_evaluation(self, snapshot: GroupSnapshot) -> None:
        for evaluator in snapshot.of_role("evaluator"):
            error = self._evaluator_error(evaluator)
            if error is not None:
                raise error
            check_last_evaluated(self._options, f"the evaluator ended with exit code {evaluator.exit_code}")

    def _print_lines(self, snapshot: GroupSnapshot) -> None:
        for task, status in snapshot.statuses.items():
            prefix = "" if task.role == "chief" else f"[{task.name}] "
            for line in status.lines:
                self._announce(prefix + line)
