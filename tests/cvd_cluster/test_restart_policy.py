"""The table of what is done about what."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cvd_cluster.errors import RoleError, RoleLostError
from cvd_cluster.roles.role_status import ActorLoss, RolePhase, RoleStatus
from cvd_cluster.supervision.restart_policy import Action, Decision, RunHistory, decide, decide_on_evaluator
from cvd_cluster.supervision.run_progress import Stall
from cvd_cluster.supervision.snapshot import GroupSnapshot
from cvd_cluster.supervision_options import SupervisionOptions
from cvd_cluster.topology import Task
from estimators.errors import DataError
from estimators.training_plan import Strategy
from tests.cvd_cluster.fakes import failure, status

CHIEF, WORKER, PS = Task("chief", 0, 1.0, 0), Task("worker", 0, 1.0, 0), Task("ps", 0, 1.0, 0)
EVALUATOR = Task("evaluator", 0, 1.0, 0)
STRATEGIES: tuple[Strategy, Strategy] = ("parameter_server", "multi_worker_mirrored")
ASYNCHRONOUS, SYNCHRONOUS = STRATEGIES
KILLED = {"phase": RolePhase.LOST}
NODE_GONE = {"phase": RolePhase.LOST, "exit_code": None, "loss": ActorLoss("its node is gone", False, 1.0)}
PREEMPTED = {"phase": RolePhase.LOST, "exit_code": None, "loss": ActorLoss("its node is gone", True, 1.0)}
OWN_ERROR = {"phase": RolePhase.FAILED}
ECHO = {"phase": RolePhase.FAILED, "failure": failure("UnavailableError", is_echo=True)}
OF_TENSORFLOW = {"phase": RolePhase.FAILED, "failure": failure("UnknownError", is_tensorflows=True)}
BAD_DATA = {"phase": RolePhase.FAILED, "failure": failure("DataError", parts=("a", "f", "c"))}


def snapshot(changed: dict[Task, dict[str, Any]]) -> GroupSnapshot:
    statuses: dict[Task, RoleStatus] = {}
    for task in (CHIEF, WORKER, PS, EVALUATOR):
        values = dict(changed.get(task, {}))
        statuses[task] = status(task, values.pop("phase", RolePhase.TRAINING), **values)
    return GroupSnapshot(1000.0, 50.0, statuses)


def decision(changed: dict[Task, dict[str, Any]], strategy: Strategy = ASYNCHRONOUS, **given: Any) -> Decision:
    options = SupervisionOptions(**given.pop("options", {}))
    history = RunHistory(**given.pop("history", {}))
    defaults: dict[str, Any] = {"trouble_secs": 0.0, "disturbed": False, "stalls": (), "log_folder": "/run/logs"}
    return decide(options, strategy, history, snapshot(changed), **{**defaults, **given})


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_as_long_as_all_is_well_nothing_is_done(strategy: Strategy) -> None:
    assert decision({}, strategy).action is Action.GO_ON
    assert decision({WORKER: {"phase": RolePhase.DONE}}, strategy).action is Action.GO_ON


@pytest.mark.parametrize("task", [CHIEF, WORKER, PS])
def test_a_killed_process_is_started_again_in_place_or_with_all_others(task: Task) -> None:
    made = decision({task: KILLED})
    assert (made.action, made.roles) == (Action.RESTART, (task.name,)) and "SIGKILL" in made.cause
    assert decision({task: KILLED}, SYNCHRONOUS).action is Action.NEW_GENERATION


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_lost_actor_or_node_makes_a_new_generation(strategy: Strategy) -> None:
    made = decision({WORKER: NODE_GONE, PS: KILLED}, strategy)
    assert made.action is Action.NEW_GENERATION and made.charged and "its node is gone" in made.cause


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_preemption_that_was_announced_is_not_charged(strategy: Strategy) -> None:
    spent = {"generations": 3}
    made = decision({WORKER: PREEMPTED, PS: PREEMPTED}, strategy, history=spent, options={"max_generations": 3})
    assert made.action is Action.NEW_GENERATION and not made.charged
    assert decision({WORKER: PREEMPTED, PS: NODE_GONE}, strategy).charged


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("other", [{}, KILLED, NODE_GONE, ECHO])
def test_a_python_error_ends_the_run_whatever_else_happens(strategy: Strategy, other: dict[str, Any]) -> None:
    made = decision({WORKER: OWN_ERROR, CHIEF: other}, strategy, disturbed=True)
    assert made.action is Action.FAIL and isinstance(made.error, RoleError)
    assert made.error.summary.startswith("worker-0 failed: KeyError") and "Traceback" in made.error.found


def test_an_error_for_people_is_shown_as_it_is() -> None:
    made = decision({WORKER: BAD_DATA})
    assert isinstance(made.error, DataError) and made.error.exit_code == 2


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_an_error_of_tensorflow_is_the_users_unless_another_role_has_just_ended(strategy: Strategy) -> None:
    assert decision({WORKER: OF_TENSORFLOW}, strategy, trouble_secs=4.0).action is Action.FAIL
    assert decision({WORKER: OF_TENSORFLOW}, strategy).action is Action.GO_ON, "the other may be about to be missed"
    assert decision({WORKER: OF_TENSORFLOW, CHIEF: OWN_ERROR}, strategy).action is Action.FAIL
    assert decision({WORKER: OF_TENSORFLOW}, strategy, disturbed=True, trouble_secs=4.0).action is not Action.FAIL
    assert decision({WORKER: OF_TENSORFLOW, CHIEF: KILLED}, strategy).action is not Action.FAIL


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_an_echo_waits_for_its_cause_and_is_mended_if_none_comes(strategy: Strategy) -> None:
    assert decision({WORKER: ECHO}, strategy, trouble_secs=1.0).action is Action.GO_ON
    mended = Action.RESTART if strategy == ASYNCHRONOUS else Action.NEW_GENERATION
    assert decision({WORKER: ECHO}, strategy, trouble_secs=4.0).action is mended
    assert decision({WORKER: ECHO, PS: KILLED}, strategy, trouble_secs=0.0).action is mended


@pytest.mark.parametrize(
    ("strategy", "flag", "spent"),
    [(ASYNCHRONOUS, "max_process_restarts", "process_restarts"), (SYNCHRONOUS, "max_generations", "generations")],
)
def test_each_budget_has_an_end_and_the_message_names_its_flag(strategy: Strategy, flag: str, spent: str) -> None:
    assert decision({PS: KILLED}, strategy, options={flag: 2}, history={spent: 1}).action is not Action.FAIL
    made = decision({PS: KILLED}, strategy, options={flag: 2}, history={spent: 2})
    assert isinstance(made.error, RoleLostError) and made.error.exit_code == 3
    assert made.error.asked == f"--{flag}=2" and "SIGKILL" in made.error.found
    assert decision({PS: KILLED}, strategy, options={flag: 0}).action is Action.FAIL


def test_budgets_are_separate() -> None:
    spent = {"generations": 10, "evaluator_restarts": 10}
    assert decision({PS: KILLED}, history=spent).action is Action.RESTART
    assert decision({PS: KILLED}, SYNCHRONOUS, history={"process_restarts": 10}).action is Action.NEW_GENERATION


def test_two_processes_at_once_are_charged_twice() -> None:
    made = decision({PS: KILLED, WORKER: KILLED}, options={"max_process_restarts": 1})
    assert made.action is Action.FAIL
    made = decision({PS: KILLED, WORKER: KILLED}, options={"max_process_restarts": 2})
    assert made.action is Action.RESTART and set(made.roles) == {"ps-0", "worker-0"}


STALLS = [Stall("worker-0", 30.0, halted=True), Stall("chief-0", 31.0, halted=False)]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_roles_that_stand_still_make_a_new_generation_and_the_culprit_is_named(strategy: Strategy) -> None:
    made = decision({}, strategy, stalls=STALLS)
    assert made.action is Action.NEW_GENERATION and made.hung and made.roles == ("worker-0", "chief-0")
    assert made.cause.startswith("worker-0: its process was stopped by a signal")
    made = decision({}, strategy, stalls=STALLS, history={"generations": 1}, options={"max_generations": 1})
    assert made.error is not None and "--hang_timeout_secs=600" in made.error.asked and made.hung


def test_roles_that_stopped_in_the_same_step_are_all_named() -> None:
    stalls = [Stall("worker-0", 31.0, halted=False), Stall("chief-0", 30.0, halted=False)]
    made = decision({}, "multi_worker_mirrored", stalls=stalls)
    assert made.action is Action.NEW_GENERATION and made.cause.startswith("worker-0 and chief-0: no step for 31 s")
    assert "their stacks tell" in made.cause
    made = decision(
        {}, "multi_worker_mirrored", stalls=stalls, history={"generations": 1}, options={"max_generations": 1}
    )
    assert made.error is not None and made.error.summary.startswith("worker-0 and chief-0 hang, ")
    alone = [Stall("worker-0", 36.0, halted=False), Stall("chief-0", 30.5, halted=False)]
    assert decision({}, "multi_worker_mirrored", stalls=alone).cause == "worker-0: no step for 36 s"
    # Asynchronous ones wait for nobody.
    assert decision({}, "parameter_server", stalls=stalls).cause == "worker-0: no step for 31 s"


def test_an_evaluator_that_stands_still_is_nothing_to_those_that_train() -> None:
    assert decision({}, stalls=[Stall("evaluator-0", 700.0, halted=False)]).action is Action.GO_ON
    assert decision({EVALUATOR: KILLED}).action is Action.GO_ON
    assert decision({EVALUATOR: OWN_ERROR}).action is Action.GO_ON


def of_evaluator(
    values: dict[str, Any], *, stalls: tuple[Stall, ...] = (), spent: int = 0, over: bool = False
) -> Decision:
    values = dict(values)
    evaluator = status(EVALUATOR, values.pop("phase", RolePhase.STARTING), **values)
    options = SupervisionOptions(max_process_restarts=2)
    history = RunHistory(evaluator_restarts=spent, process_restarts=2)
    return decide_on_evaluator(
        options, history, evaluator, training_is_over=over, stalls=stalls, log_folder="/run/logs"
    )


def test_an_evaluator_is_started_again_within_its_own_budget() -> None:
    for changed in (KILLED, NODE_GONE):
        made = of_evaluator(changed, spent=1)
        assert made.action is Action.RESTART and made.charged
        assert of_evaluator(changed, spent=2).action is Action.FAIL
    made = of_evaluator(PREEMPTED, spent=2)
    assert made.action is Action.RESTART and not made.charged
    hung = of_evaluator({}, stalls=(Stall("evaluator-0", 700.0, halted=False),))
    assert hung.action is Action.RESTART and hung.hung and "no step for 700 s" in hung.cause
    assert of_evaluator({}, stalls=(Stall("chief-0", 700.0, halted=False),)).action is Action.GO_ON
    assert of_evaluator({"phase": RolePhase.DONE}, over=True).action is Action.GO_ON


def test_an_evaluator_that_ends_before_training_does_is_started_again() -> None:
    made = of_evaluator({"phase": RolePhase.DONE})
    assert made.action is Action.RESTART and made.charged and made.cause.endswith("ended, before training did")
    assert of_evaluator({"phase": RolePhase.DONE}, spent=2).action is Action.FAIL


def test_one_that_hangs_for_the_last_time_is_told_as_that() -> None:
    stall = Stall("evaluator-0", 700.0, halted=False)
    made = of_evaluator({}, stalls=(stall,), spent=2)
    assert made.error is not None and made.error.found == stall.cause


def test_an_evaluator_that_failed_beside_its_checkpoints_is_started_again_within_its_budget() -> None:
    full = {"phase": RolePhase.FAILED, "failure": failure("InfrastructureError", parts=("a", "f", "c"))}
    for changed in (OWN_ERROR, OF_TENSORFLOW, full):
        made = of_evaluator(changed, spent=1)
        assert made.action is Action.RESTART and made.charged and "its process 4711 ended with" in made.cause
        assert of_evaluator(changed, spent=2).action is Action.FAIL


def test_an_evaluator_that_tells_a_mistake_is_given_up() -> None:
    not_evaluated = {"phase": RolePhase.FAILED, "failure": failure("UserError", parts=("a", "f", "c"))}
    for changed in (BAD_DATA, not_evaluated):
        made = of_evaluator(changed)
        assert made.action is Action.FAIL and made.error is not None and "evaluator-0" in made.error.summary


def test_a_decision_is_a_value() -> None:
    assert decision({PS: KILLED}) == decision({PS: KILLED})
    with pytest.raises(dataclasses.FrozenInstanceError):
        decision({}).cause = "other"  # type: ignore[misc]


KINDS = st.sampled_from([{}, KILLED, NODE_GONE, PREEMPTED, OWN_ERROR, ECHO, OF_TENSORFLOW, {"phase": RolePhase.DONE}])


@given(
    strategy=st.sampled_from(STRATEGIES),
    changed=st.fixed_dictionaries({CHIEF: KINDS, WORKER: KINDS, PS: KINDS}),
    spent=st.integers(0, 4),
    budget=st.integers(0, 4),
    trouble_secs=st.floats(0, 10),
    disturbed=st.booleans(),
)
def test_whatever_happens_at_once_the_rules_hold(
    strategy: Strategy,
    changed: dict[Task, dict[str, Any]],
    spent: int,
    budget: int,
    trouble_secs: float,
    disturbed: bool,
) -> None:
    made = decision(
        changed,
        strategy,
        options={"max_process_restarts": budget, "max_generations": budget},
        history={"process_restarts": spent, "generations": spent},
        trouble_secs=trouble_secs,
        disturbed=disturbed,
    )
    kinds = list(changed.values())
    assert (made.error is not None) == (made.action is Action.FAIL)
    if OWN_ERROR in kinds:
        assert made.action is Action.FAIL and made.error is not None and made.error.exit_code == 2
    elif not any(kind in kinds for kind in (KILLED, NODE_GONE, PREEMPTED, ECHO, OF_TENSORFLOW)):
        assert made.action is Action.GO_ON
    if made.action is Action.RESTART:
        assert strategy == ASYNCHRONOUS and spent + len(made.roles) <= budget
        assert NODE_GONE not in kinds and PREEMPTED not in kinds, "their addresses are gone"
    if made.action is Action.NEW_GENERATION and made.charged:
        assert spent < budget
