from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from cvd_cluster.errors import RoleError, RoleLostError
from cvd_cluster.roles.role_status import RolePhase
from cvd_cluster.supervision import supervisor
from cvd_cluster.supervision.supervisor import Supervisor
from cvd_cluster.topology import Task
from estimators.data_check import DataFiles
from estimators.errors import InfrastructureError
from estimators.experiment_options import ExperimentOptions
from estimators.run_state import RunState, read_run_state, write_run_state
from estimators.training_plan import TrainingPlan
from tests.cvd_cluster.fakes import FakeGroup, failure, status
from tests.estimators.made_checkpoints import write_checkpoint

CHIEF, WORKER, PS = Task("chief", 0, 1.0, 0), Task("worker", 0, 1.0, 0), Task("ps", 0, 1.0, 0)
EVALUATOR = Task("evaluator", 0, 1.0, 0)
TASKS = [CHIEF, WORKER, PS, EVALUATOR]
STARTING, FAILED, LOST, DONE = RolePhase.STARTING, RolePhase.FAILED, RolePhase.LOST, RolePhase.DONE
FINISHED = status(CHIEF, training_finished=True)
ALL_DONE = {CHIEF: status(CHIEF, DONE, training_finished=True), WORKER: status(WORKER, DONE)}
ECHO = failure("UnavailableError", is_echo=True)


class Run:
    """A supervisor over a scripted group, with what it announced."""

    def __init__(self, folder: Path, script: Iterable[Any], tasks: list[Task] | None = None) -> None:
        self.train_dir = str(folder)
        options = ExperimentOptions(train_dir=self.train_dir, train_data_pattern="/d/*", eval_data_pattern="/e/*")
        data = DataFiles(("/d/a",), (8,))
        plan = TrainingPlan("parameter_server", 2, 1, data, data, 4, 5)
        write_run_state(self.train_dir, RunState.RUNNING, 5)
        self.lines: list[str] = []
        self.group = FakeGroup(tasks or TASKS, script)
        self._supervisor = Supervisor(
            self.group,  # type: ignore[arg-type]
            options,
            plan,
            started=40.0,
            announce=self.lines.append,
            sleep=self.group.sleep,
        )

    def __call__(self) -> Run:
        self._supervisor.run()
        return self

    @property
    def state(self) -> RunState:
        record = read_run_state(self.train_dir)
        assert record is not None and record.max_steps == 5
        return record.state


def evaluated(folder: Path, *steps: int) -> None:
    (folder / "eval").mkdir(exist_ok=True)
    (folder / "eval" / "metrics.jsonl").write_text("".join(json.dumps({"global_step": step}) + "\n" for step in steps))


def test_a_run_goes_from_training_over_evaluation_to_its_end(tmp_path: Path) -> None:
    write_checkpoint(tmp_path, 5)
    states: list[tuple[RunState, int]] = []

    def look(changes: dict[Task, Any]) -> Any:
        def step() -> dict[Task, Any]:
            states.append((run.state, run.group.evaluator_starts))
            return changes

        return step

    def evaluate() -> dict[Task, Any]:
        evaluated(tmp_path, 5)
        return look({EVALUATOR: status(EVALUATOR, DONE, lines=("epoch/eval number 5",))})()  # type: ignore[no-any-return]

    run = Run(
        tmp_path,
        [
            look({}),
            look({CHIEF: status(CHIEF, lines=("training step 3",)), WORKER: status(WORKER)}),
            look({CHIEF: FINISHED}),
            look(ALL_DONE),
            look({}),
            evaluate,
        ],
    )
    run()
    assert states == [
        (RunState.RUNNING, 0),
        (RunState.RUNNING, 0),
        (RunState.RUNNING, 1),  # the evaluator begins after the chief's first step
        (RunState.RUNNING, 1),
        (RunState.EVALUATING, 1),
        (RunState.EVALUATING, 1),
    ]
    assert run.lines == [
        "training step 3",
        "steps made: chief-0 3, the first 10.0 s after the command began; "
        "worker-0 3, the first 10.0 s after the command began",
        "[evaluator-0] epoch/eval number 5",
    ]


def test_without_an_evaluator_a_run_ends_with_training(tmp_path: Path) -> None:
    run = Run(tmp_path, [ALL_DONE], [CHIEF, WORKER])()
    assert run.state is RunState.EVALUATING, "the caller says how it ended"


def test_lines_of_others_than_the_chief_bear_their_name_and_all_are_printed_once(tmp_path: Path) -> None:
    script = [
        {CHIEF: status(CHIEF, lines=("a", "b")), WORKER: status(WORKER, lines=("c",))},
        {},
        {CHIEF: dataclasses.replace(ALL_DONE[CHIEF], lines=("last",)), WORKER: ALL_DONE[WORKER]},
    ]
    run = Run(tmp_path, script, [CHIEF, WORKER])()
    assert run.lines[:4] == ["a", "b", "[worker-0] c", "last"] and len(run.lines) == 5


def test_a_chief_that_has_nothing_to_train_still_gets_its_evaluation(tmp_path: Path) -> None:
    write_checkpoint(tmp_path, 5)
    evaluated(tmp_path, 5)
    never = {task: status(task, DONE, first_step_time=None, local_steps=0) for task in (CHIEF, WORKER)}
    run = Run(tmp_path, [never, {EVALUATOR: status(EVALUATOR, DONE)}])()
    assert run.group.evaluator_starts == 1 and "steps made: chief-0 0; worker-0 0" in run.lines


def test_a_python_error_ends_the_run_at_once(tmp_path: Path) -> None:
    run = Run(tmp_path, [{}, {WORKER: status(WORKER, FAILED)}])
    with pytest.raises(RoleError, match="worker-0 failed: KeyError"):
        run()
    assert run.group.time < 1002 and run.state is RunState.RUNNING


@pytest.mark.parametrize("task", [CHIEF, WORKER, PS])
def test_a_lost_process_ends_the_run(tmp_path: Path, task: Task) -> None:
    with pytest.raises(RoleLostError, match=f"{task.name} was lost"):
        Run(tmp_path, [{task: status(task, LOST)}])()


def test_an_echo_waits_a_moment_for_its_cause(tmp_path: Path) -> None:
    script = [{CHIEF: status(CHIEF, FAILED, failure=ECHO)}, {}, {}, {WORKER: status(WORKER, FAILED)}]
    with pytest.raises(RoleError, match=r"worker-0 failed: KeyError \(chief-0 ended after it\)"):
        Run(tmp_path, script)()


def test_an_echo_whose_cause_does_not_come_is_shown_itself(tmp_path: Path) -> None:
    run = Run(tmp_path, [{CHIEF: status(CHIEF, FAILED, failure=ECHO)}])
    with pytest.raises(RoleError, match="chief-0 failed: UnavailableError"):
        run()
    assert 3 <= run.group.time - 1000 < 6


def test_once_the_chief_has_finished_the_others_may_end_as_they_like(tmp_path: Path) -> None:
    script = [
        {CHIEF: FINISHED},
        {WORKER: status(WORKER, FAILED, failure=ECHO), PS: status(PS, LOST)},
        {CHIEF: ALL_DONE[CHIEF]},
    ]
    Run(tmp_path, script, [CHIEF, WORKER, PS])()


def test_a_worker_that_does_not_end_after_the_last_step_is_not_waited_for_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "_LAST_STEP_SECS", 0.0)
    Run(tmp_path, [{CHIEF: ALL_DONE[CHIEF], WORKER: status(WORKER)}], [CHIEF, WORKER])()


@pytest.mark.parametrize("phase", [FAILED, LOST])
def test_an_evaluator_that_ends_early_does_not_end_training_but_the_run_does_not_end_well(
    tmp_path: Path, phase: RolePhase
) -> None:
    script = [{CHIEF: status(CHIEF)}, {EVALUATOR: status(EVALUATOR, phase)}, {}, {}, ALL_DONE]
    run = Run(tmp_path, script)
    with pytest.raises((RoleError, RoleLostError), match="evaluator-0"):
        run()
    told = [line for line in run.lines if "training goes on" in line]
    assert len(told) == 1 and "evaluator-0" in told[0]
    assert [line for line in run.lines if line.startswith("steps made")], "training went on to its end"


def test_a_run_whose_last_checkpoint_is_not_evaluated_does_not_end_well(tmp_path: Path) -> None:
    write_checkpoint(tmp_path, 5)
    evaluated(tmp_path, 3)
    with pytest.raises(InfrastructureError, match="last checkpoint is not evaluated") as caught:
        Run(tmp_path, [ALL_DONE, {EVALUATOR: status(EVALUATOR, DONE)}])()
    assert "step 5" in caught.value.found and "launch.eval --run_once" in caught.value.change
