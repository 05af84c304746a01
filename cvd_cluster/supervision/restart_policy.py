"""What is done about a snapshot. Pure: no Ray, no clock of its own; the supervisor obeys.

| what happened                      | parameter_server              | multi_worker_mirrored |
| ---------------------------------- | ----------------------------- | --------------------- |
| a Python error of the user's code  | the run fails                 | the run fails         |
| a process was killed               | it is started again in place  | new generation        |
| an actor or a node is lost         | new generation                | new generation        |
| no step for too long               | new generation                | new generation        |
| the evaluator died, hangs, failed  | it is started again, whatever the strategy            |

Each kind of mending has a budget. What Ray had announced, a preemption, is not charged.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass

from cvd_cluster.errors import RoleLostError
from cvd_cluster.roles.role_status import RoleFailure, RolePhase, RoleStatus
from cvd_cluster.supervision import verdict
from cvd_cluster.supervision.run_progress import SAME_STEP_SECS, Stall
from cvd_cluster.supervision.snapshot import GroupSnapshot
from cvd_cluster.supervision_options import SupervisionOptions
from estimators.errors import HarnessError, InfrastructureError
from estimators.training_plan import Strategy

# How long after a role's end an error of TensorFlow in another role may follow from it.
DISTURBED_SECS = 60.0


class Action(enum.Enum):
    """What a decision asks for."""

    GO_ON = "GO_ON"
    """Nothing."""
    RESTART = "RESTART"
    """New processes for `roles`, at the same addresses."""
    NEW_GENERATION = "NEW_GENERATION"
    """All processes that train end, and all start anew from the last checkpoint."""
    FAIL = "FAIL"
    """The run ends with `error`."""


@dataclass(frozen=True)
class RunHistory:
    """What was mended so far, as it is charged.

    Attributes:
      process_restarts: restarts in place of processes that train.
      generations: generations after the first.
      evaluator_restarts: restarts of the evaluator.
    """

    process_restarts: int = 0
    generations: int = 0
    evaluator_restarts: int = 0


@dataclass(frozen=True)
class Decision:
    """What is to be done, and why.

    Attributes:
      action: see Action.
      roles: names of those it is about.
      cause: one line for people.
      charged: whether it counts against its budget.
      hung: whether it is about a role that stands still, so that stacks are wanted.
      error: of Action.FAIL.
    """

    action: Action
    roles: tuple[str, ...] = ()
    cause: str = ""
    charged: bool = True
    hung: bool = False
    error: HarnessError | None = None


_GO_ON = Decision(Action.GO_ON)


def decide(
    options: SupervisionOptions,
    strategy: Strategy,
    history: RunHistory,
    snapshot: GroupSnapshot,
    *,
    trouble_secs: float,
    disturbed: bool,
    stalls: Sequence[Stall],
    log_folder: str,
) -> Decision:
    """What is done about the roles that train.

    Args:
      options: budgets.
      strategy: of the run.
      history: what was mended before.
      snapshot: of all roles.
      trouble_secs: how long ago the trouble in it was seen first.
      disturbed: whether a role was started again less than DISTURBED_SECS ago.
      stalls: the roles that stand still, the likely culprit first.
      log_folder: for messages.
    """
    troubled = verdict.in_trouble(snapshot)
    if not troubled:
        return _about_stalls(options, strategy, history, stalls, log_folder)
    lost = [status for status in troubled if status.phase is RolePhase.LOST]
    own = [status for status in troubled if _is_own_error(status, disturbed=disturbed or bool(lost))]
    if own:
        if trouble_secs <= verdict.ECHO_SECS and all(_is_tensorflows(status) for status in own):
            return _GO_ON  # the end of another process, from which it may follow, is told a moment later
        others = [status for status in troubled if status not in own]
        return Decision(Action.FAIL, error=verdict.error_of([*own, *others], log_folder))
    if not lost and trouble_secs <= verdict.ECHO_SECS:
        return _GO_ON  # an echo's cause may be on its way
    causes = lost or troubled
    cause = "; ".join(f"{status.name}: {verdict.how_it_ended(status)}" for status in causes)
    names = tuple(status.name for status in troubled)
    gone = [status.loss for status in troubled if status.loss is not None]
    if strategy == "parameter_server" and not gone:
        if history.process_restarts + len(names) > options.max_process_restarts:
            return _used_up("max_process_restarts", options.max_process_restarts, causes, log_folder)
        return Decision(Action.RESTART, names, cause)
    if gone and all(loss.preempted for loss in gone) and len(gone) == len(lost):
        return Decision(Action.NEW_GENERATION, names, cause, charged=False)
    if history.generations >= options.max_generations:
        return _used_up("max_generations", options.max_generations, causes, log_folder)
    return Decision(Action.NEW_GENERATION, names, cause)


def decide_on_evaluator(
    options: SupervisionOptions,
    history: RunHistory,
    evaluator: RoleStatus,
    *,
    training_is_over: bool,
    stalls: Sequence[Stall],
    log_folder: str,
) -> Decision:
    """What is done about the evaluator; FAIL gives it up, and training goes on."""
    if evaluator.failure is not None and _is_mistake(evaluator.failure):
        return Decision(Action.FAIL, error=verdict.error_of([evaluator], log_folder))
    hung = [stall for stall in stalls if stall.name == evaluator.name]
    # It ends by itself after the last checkpoint; before, it was misled by what it read, and is of no use to anybody.
    too_early = evaluator.phase is RolePhase.DONE and not training_is_over
    if evaluator.phase not in (RolePhase.LOST, RolePhase.FAILED) and not hung and not too_early:
        return _GO_ON
    charged = evaluator.loss is None or not evaluator.loss.preempted
    if charged and history.evaluator_restarts >= options.max_process_restarts:
        return _used_up("max_process_restarts", options.max_process_restarts, [evaluator], log_folder, hung=hung)
    cause = hung[0].cause if hung else verdict.how_it_ended(evaluator) + (", before training did" if too_early else "")
    return Decision(Action.RESTART, (evaluator.name,), f"{evaluator.name}: {cause}", charged=charged, hung=bool(hung))


def _is_mistake(failure: RoleFailure) -> bool:
    """True for what no new process mends: bad data, and at the end checkpoints that were tried twice.

    A checkpoint's own error does not end the evaluator; so any other comes from around it, from storage above all.
    """
    return failure.parts is not None and failure.kind != InfrastructureError.__name__


def _is_own_error(status: RoleStatus, *, disturbed: bool) -> bool:
    """True for a Python error that does not follow from the end of another role."""
    failure = status.failure
    if failure is None or failure.is_echo:
        return False
    return not (failure.is_tensorflows and disturbed)


def _is_tensorflows(status: RoleStatus) -> bool:
    return status.failure is not None and status.failure.is_tensorflows


def _about_stalls(
    options: SupervisionOptions, strategy: Strategy, history: RunHistory, stalls: Sequence[Stall], log_folder: str
) -> Decision:
    culprits = [stall for stall in stalls if not stall.name.startswith("evaluator")]
    if not culprits:
        return _GO_ON
    first = culprits[0]
    names = tuple(stall.name for stall in culprits)
    # Synchronous workers stop in the same step, whichever of them it is that the others wait for.
    undecided = strategy == "multi_worker_mirrored" and not first.halted
    equal = [one.name for one in culprits if undecided and first.seconds - one.seconds <= SAME_STEP_SECS]
    who = " and ".join(equal) if len(equal) > 1 else first.name
    cause = f"{first.cause}; their stacks tell which one the others wait for" if len(equal) > 1 else first.cause
    if history.generations >= options.max_generations:
        error = RoleLostError(
            f"{who} {'hang' if len(equal) > 1 else 'hangs'}, and nothing is left to try",
            asked=f"--max_generations={options.max_generations} --hang_timeout_secs={options.hang_timeout_secs:g}",
            found=cause,
            change=f"see the stacks in {log_folder}; --hang_timeout_secs if its steps take so long; the same command "
            "without --start_new_model continues",
        )
        return Decision(Action.FAIL, names, cause, hung=True, error=error)
    return Decision(Action.NEW_GENERATION, names, f"{who}: {cause}", hung=True)


def _used_up(
    flag: str, value: int, causes: Sequence[RoleStatus], log_folder: str, *, hung: Sequence[Stall] = ()
) -> Decision:
    first = causes[0]
    if hung:
        found = hung[0].cause
    else:
        found = first.failure.traceback.strip() if first.failure is not None else verdict.how_it_ended(first)
    error = RoleLostError(
        f"{first.name} was lost, and --{flag} is used up",
        asked=f"--{flag}={value}",
        found=found,
        change=f"see {log_folder}/{first.name}.log; the same command without --start_new_model continues",
    )
    return Decision(Action.FAIL, tuple(status.name for status in causes), hung=bool(hung), error=error)
