from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from cvd_cluster.errors import RoleError, RoleLostError
from cvd_cluster.roles.role_status import ActorLoss, RolePhase, RoleStatus
from cvd_cluster.supervision import supervisor
from cvd_cluster.supervision.supervisor import Supervisor
from cvd_cluster.supervision_options import SupervisionOptions
from cvd_cluster.topology import Task
from estimators.checkpoints import awaits_evaluation
from estimators.data_check import DataFiles
from estimators.errors import InfrastructureError, StoppedError, UserError
from estimators.experiment_options import ExperimentOptions
from estimators.generation import current_generation
from estimators.run_state import RunState, read_run_state, write_run_state
from estimators.stop_signals import StopSignals
from estimators.training_plan import Strategy, TrainingPlan
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

    def __init__(
        self,
        folder: Path,
        script: Iterable[Any],
        tasks: list[Task] | None = None,
        *,
        strategy: Strategy = "parameter_server",
        saved: int | None = 5,
        **supervision: Any,
    ) -> None:
        self.train_dir = str(folder)
        options = ExperimentOptions(train_dir=self.train_dir, train_data_pattern="/d/*", eval_data_pattern="/e/*")
        data = DataFiles(("/d/a",), (8,))
        plan = TrainingPlan(strategy, 2, 1, data, data, 4, 5)
        write_run_state(self.train_dir, RunState.RUNNING, 5)
        if saved is not None:
            write_checkpoint(folder, saved)
        self.lines: list[str] = []
        self.group = FakeGroup(tasks or TASKS, script)
        self.signals = StopSignals()
        self._supervisor = Supervisor(
            self.group,  # type: ignore[arg-type]
            self.group,  # type: ignore[arg-type]
            options,
            plan,
            SupervisionOptions(**supervision),
            look_at_nodes=self.group.look_at_nodes,
            started=40.0,
            signals=self.signals,
            announce=self._take_line,
            sleep=self.group.sleep,
            clock=self.group.clock,
        )

    def _take_line(self, line: str) -> None:
        if not line.startswith("[supervisor] "):
            self.lines.append(line)

    def events(self, *kinds: str) -> list[tuple[str, str | None]]:
        """(event, name of the role or None), of these kinds."""
        rows = [json.loads(line) for line in (Path(self.train_dir) / "events.jsonl").read_text().splitlines()]
        named = [(row["event"], f"{row['role']}-{row['index']}" if row["role"] else None) for row in rows]
        return [row for row in named if row[0] in kinds]

    def causes(self, kind: str) -> list[tuple[str | None, str]]:
        """(name of the role or None, cause) of the events of a kind."""
        rows = [json.loads(line) for line in (Path(self.train_dir) / "events.jsonl").read_text().splitlines()]
        return [
            (f"{row['role']}-{row['index']}" if row["role"] else None, row["cause"])
            for row in rows
            if row["event"] == kind
        ]

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
        (RunState.EVALUATING, 1),
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


@pytest.mark.parametrize("saved", [None, 4])
def test_a_run_whose_last_step_is_not_in_its_folder_does_not_end_well(tmp_path: Path, saved: int | None) -> None:
    run = Run(tmp_path, [ALL_DONE], [CHIEF, WORKER], saved=saved)
    with pytest.raises(InfrastructureError, match="its last step is not in --train_dir") as caught:
        run()
    assert caught.value.found == (f"the newest checkpoint is of step {saved}" if saved else "no checkpoint yet")


def test_a_run_whose_ray_is_gone_ends(tmp_path: Path) -> None:
    def lose() -> dict[Task, Any]:
        run.group.served = False
        return {}

    run = Run(tmp_path, [{}, lose])
    with pytest.raises(InfrastructureError, match="Ray is gone"):
        run()
    assert run.events("run_ended")


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
def test_a_killed_process_is_started_again_in_place_under_parameter_server(tmp_path: Path, task: Task) -> None:
    trained = {CHIEF: status(CHIEF), WORKER: status(WORKER)}
    run = Run(tmp_path, [trained, {task: status(task, LOST)}, {}, trained, ALL_DONE], [CHIEF, WORKER, PS])()
    assert run.group.done == ["generation 1", f"restart {task.name}"]
    assert run.events("process_restarted", "generation_ended") == [("process_restarted", task.name)]
    ended = [row for row in run.events("process_ended") if row[1] == task.name]
    assert ended, "the log tells that it was gone"
    made = 6 if task.trains else 3
    assert f"{CHIEF.name} {made if task is CHIEF else 3}" in run.lines[-1], "steps of all its processes count"


@pytest.mark.parametrize("task", [CHIEF, WORKER])
def test_a_killed_process_makes_a_new_generation_under_multi_worker_mirrored(tmp_path: Path, task: Task) -> None:
    trained = {CHIEF: status(CHIEF), WORKER: status(WORKER)}
    script = [trained, {task: status(task, LOST)}, {}, trained, ALL_DONE]
    run = Run(tmp_path, script, [CHIEF, WORKER], strategy="multi_worker_mirrored")()
    assert run.group.done == ["generation 1", "end", "generation 2"]
    assert run.events("generation_ended", "generation_started", "process_restarted") == [
        ("generation_started", None),
        ("generation_ended", None),
        ("generation_started", None),
    ]
    assert current_generation(run.train_dir) == 2


def test_a_new_generation_waits_until_the_lost_process_is_certainly_gone(tmp_path: Path) -> None:
    gone = status(WORKER, LOST, exit_code=None, loss=ActorLoss("the node is gone", False, gone_at=1012.0))
    run = Run(tmp_path, [{WORKER: gone}, *([{}] * 40), ALL_DONE], [CHIEF, WORKER, PS])()
    assert len(run.group.begun) == 2 and run.group.begun[1] >= 1012.0


def test_of_healthy_processes_that_end_with_a_lost_node_it_is_told_that_the_command_ended_them(tmp_path: Path) -> None:
    trained = {CHIEF: status(CHIEF), PS: status(PS)}
    gone = status(WORKER, LOST, exit_code=None, loss=ActorLoss("the node is gone", False, gone_at=1005.0))
    run = Run(tmp_path, [trained, {WORKER: gone}, *([{}] * 20), ALL_DONE], [CHIEF, WORKER, PS])()
    causes = {name: cause for name, cause in run.causes("process_ended") if cause}
    assert "the node is gone" in causes.pop("worker-0")
    assert set(causes) == {"chief-0", "ps-0"}
    assert all("the command ended" in cause and "memory" not in cause for cause in causes.values())


def test_that_the_command_ends_healthy_processes_is_told_also_if_no_room_has_to_be_found(tmp_path: Path) -> None:
    killed = status(WORKER, LOST, exit_code=-9)
    script = [{CHIEF: status(CHIEF)}, {WORKER: killed}, *([{}] * 5), ALL_DONE]
    run = Run(tmp_path, script, [CHIEF, WORKER], strategy="multi_worker_mirrored")()
    causes = dict(run.causes("process_ended")[:2])
    assert "SIGKILL" in causes["worker-0"] and "the command ended" in causes["chief-0"]


def test_who_is_lost_while_room_is_looked_for_must_be_gone_too(tmp_path: Path) -> None:
    def gone(task: Task, gone_at: float) -> RoleStatus:
        return status(task, LOST, exit_code=None, loss=ActorLoss("the node is gone", False, gone_at=gone_at))

    def another_comes_and_one_more_goes() -> dict[Task, Any]:
        run.group.whole = True
        return {PS: gone(PS, 1012.0)}

    script = [{WORKER: gone(WORKER, 1001.0)}, another_comes_and_one_more_goes, *([{}] * 20), ALL_DONE]
    run = Run(tmp_path, script, [CHIEF, WORKER, PS])
    run.group.whole = False
    run()
    assert len(run.group.begun) == 2 and run.group.begun[1] >= 1012.0


def test_a_signal_is_obeyed_while_processes_take_long_to_start(tmp_path: Path) -> None:
    def terminate() -> dict[Task, Any]:
        run.signals.received = "SIGTERM"
        return {}

    run = Run(tmp_path, [terminate])
    run.group.start_secs = 120.0
    with pytest.raises(StoppedError):
        run()
    assert run.group.time - 1000 < 20 and run.events("stop_requested")


def test_a_node_that_comes_for_a_lost_one_is_looked_at_before_anything_starts_there(tmp_path: Path) -> None:
    gone = status(WORKER, LOST, exit_code=None, loss=ActorLoss("the node is gone", False, gone_at=0.0))
    run = Run(tmp_path, [{WORKER: gone}, {}, {}, ALL_DONE], [CHIEF, WORKER])
    run.group.bad_nodes = [InfrastructureError("A node of the cluster cannot be looked at")]
    run()
    assert run.group.done == ["generation 1", "end", "bad node", "end", "generation 2"]
    rows = run.causes("generation_ended")
    assert "the node is gone" in rows[0][1] and "cannot be looked at" in rows[1][1]

    (tmp_path / "other").mkdir()
    run = Run(tmp_path / "other", [{WORKER: gone}], [CHIEF, WORKER])
    run.group.bad_nodes = [UserError("node-b has other versions than this machine")]
    with pytest.raises(UserError, match="other versions"):
        run()
    assert run.group.done == ["generation 1", "end", "bad node"]


def test_with_no_room_for_a_lost_worker_the_run_goes_on_with_less(tmp_path: Path) -> None:
    gone = status(WORKER, LOST, exit_code=None, loss=ActorLoss("the node is gone", False, gone_at=0.0))
    run = Run(tmp_path, [{WORKER: gone}, {}, {}, {CHIEF: ALL_DONE[CHIEF]}], [CHIEF, WORKER], min_workers=1)
    run.group.whole = False
    run()
    assert run.group.done == ["generation 1", "end", "shrunk", "generation 2"]
    assert run.events("fewer_workers", "waiting_for_nodes") == [("waiting_for_nodes", None), ("fewer_workers", None)]

    run = Run(tmp_path, [{WORKER: gone}], [CHIEF, WORKER])
    run.group.whole = False
    with pytest.raises(InfrastructureError, match="no room"):
        run()


def test_what_dies_again_and_again_is_given_up(tmp_path: Path) -> None:
    script = [{WORKER: status(WORKER, LOST)}, {WORKER: status(WORKER, LOST)}, {WORKER: status(WORKER, LOST)}]
    run = Run(tmp_path, script, max_process_restarts=2)
    with pytest.raises(RoleLostError, match="--max_process_restarts is used up"):
        run()
    assert run.group.done == ["generation 1", "restart worker-0", "restart worker-0"]
    assert run.events("run_ended") == [("run_ended", None)]


def test_a_role_without_a_step_for_too_long_makes_a_new_generation_with_stacks(tmp_path: Path) -> None:
    trained = {CHIEF: status(CHIEF), WORKER: status(WORKER)}
    script = [trained, {WORKER: status(WORKER, halted=True)}, *([{}] * 12), ALL_DONE]
    run = Run(tmp_path, script, [CHIEF, WORKER], hang_timeout_secs=5.0)()
    assert run.group.done == ["generation 1", "stacks", "end", "generation 2"]
    assert run.events("hang")[0] == ("hang", "chief-0") and len(run.events("stacks")) == 2
    rows = [json.loads(line) for line in (tmp_path / "events.jsonl").read_text().splitlines()]
    (ended,) = [row["cause"] for row in rows if row["event"] == "generation_ended"]
    assert ended.startswith("worker-0: its process was stopped by a signal"), "the culprit is named"


@pytest.mark.parametrize("signal", ["SIGTERM", "SIGINT"])
def test_a_signal_has_a_checkpoint_saved_and_ends_the_run(tmp_path: Path, signal: str) -> None:
    def terminate() -> dict[Task, Any]:
        run.signals.received = signal
        return {}

    def save() -> dict[Task, Any]:
        assert run.group.done[-1] == "stop"
        write_checkpoint(tmp_path, 3)
        return {CHIEF: status(CHIEF, DONE), WORKER: status(WORKER, DONE)}

    run = Run(tmp_path, [{}, terminate, {}, save], saved=2)
    with pytest.raises(StoppedError) as caught:
        run()
    assert caught.value.exit_code == {"SIGTERM": 143, "SIGINT": 130}[signal]
    assert "step 3" in caught.value.found and run.events("stop_requested")
    assert run.group.done == ["generation 1", "stop"]


def test_roles_that_do_not_obey_a_signal_are_not_waited_for_for_ever(tmp_path: Path) -> None:
    run = Run(tmp_path, [], saved=3)
    run.signals.received = "SIGTERM"
    with pytest.raises(StoppedError, match="Stopped by SIGTERM") as caught:
        run()
    assert run.group.time - 1000 < 20
    assert "nothing was saved since the signal (chief-0 did not save one within 14 s)" in caught.value.found
    assert "step 3" in caught.value.found


def test_a_checkpoint_that_cannot_be_saved_at_a_stop_is_told_by_its_error(tmp_path: Path) -> None:
    full = failure("InfrastructureError", parts=("a", "No space left", "c"), message="--train_dir is full")
    run = Run(tmp_path, [{}, {CHIEF: status(CHIEF, FAILED, failure=full)}], saved=3)
    run.signals.received = "SIGTERM"
    with pytest.raises(InfrastructureError, match="chief-0: --train_dir is full"):
        run()


@pytest.mark.parametrize("ended", [{"phase": LOST}, {"phase": FAILED, "failure": ECHO}])
def test_a_chief_that_dies_at_a_stop_saves_nothing_and_that_is_said(tmp_path: Path, ended: dict[str, Any]) -> None:
    run = Run(tmp_path, [{}, {CHIEF: status(CHIEF, **ended)}], saved=3)
    run.signals.received = "SIGTERM"
    with pytest.raises(StoppedError) as caught:
        run()
    assert "nothing was saved since the signal (chief-0: its process" in caught.value.found


def test_a_checkpoint_saved_by_a_chief_that_does_not_end_counts(tmp_path: Path) -> None:
    def save() -> dict[Task, Any]:
        write_checkpoint(tmp_path, 4)
        return {}

    run = Run(tmp_path, [{}, save], saved=3)
    run.signals.received = "SIGTERM"
    with pytest.raises(StoppedError) as caught:
        run()
    assert caught.value.found == "the newest checkpoint is of step 4"


def test_an_error_of_tensorflow_that_comes_again_and_again_after_a_kill_is_the_users_in_the_end(tmp_path: Path) -> None:
    mistake = status(WORKER, FAILED, failure=failure("InvalidArgumentError", is_tensorflows=True))
    healthy = status(WORKER)
    again = [{WORKER: mistake}, *([{}] * 4), {WORKER: healthy}, *([{}] * 20)]
    run = Run(tmp_path, [{PS: status(PS, LOST, exit_code=-9)}, {PS: status(PS)}, *(again * 8)], [CHIEF, WORKER, PS])
    with pytest.raises(RoleError, match="InvalidArgumentError") as caught:
        run()
    assert caught.value.exit_code == 2
    assert 1 <= sum(name == "worker-0" for _, name in run.events("process_restarted")) <= 3


def test_an_echo_waits_a_moment_for_its_cause(tmp_path: Path) -> None:
    script = [{CHIEF: status(CHIEF, FAILED, failure=ECHO)}, {}, {}, {WORKER: status(WORKER, FAILED)}]
    with pytest.raises(RoleError, match=r"worker-0 failed: KeyError \(chief-0 ended after it\)"):
        Run(tmp_path, script)()


def test_an_echo_whose_cause_does_not_come_is_mended_itself(tmp_path: Path) -> None:
    run = Run(tmp_path, [{CHIEF: status(CHIEF, FAILED, failure=ECHO)}], max_process_restarts=0)
    with pytest.raises(RoleLostError, match="chief-0 was lost") as caught:
        run()
    assert "UnavailableError" in caught.value.found
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
def test_an_evaluator_that_is_given_up_does_not_end_training_but_the_run_does_not_end_well(
    tmp_path: Path, phase: RolePhase
) -> None:
    script = [{CHIEF: status(CHIEF)}, {EVALUATOR: status(EVALUATOR, phase)}, {}, {}, ALL_DONE]
    run = Run(tmp_path, script, max_process_restarts=0)
    with pytest.raises((RoleError, RoleLostError), match="evaluator-0"):
        run()
    assert run.events("evaluator_given_up") == [("evaluator_given_up", "evaluator-0")]
    assert [line for line in run.lines if line.startswith("steps made")], "training went on to its end"


def test_an_evaluator_that_is_killed_is_started_again_and_training_never_notices(tmp_path: Path) -> None:
    write_checkpoint(tmp_path, 5)
    evaluated(tmp_path, 5)
    script = [
        {CHIEF: status(CHIEF)},
        {EVALUATOR: status(EVALUATOR, LOST)},
        {},
        {EVALUATOR: status(EVALUATOR, LOST, exit_code=None, loss=ActorLoss("killed", False, gone_at=0.0))},
        ALL_DONE,
        {EVALUATOR: status(EVALUATOR, DONE)},
    ]
    run = Run(tmp_path, script, max_process_restarts=2)()
    assert run.group.done == ["generation 1", "restart evaluator-0", "replace evaluator-0"]
    assert run.group.evaluator_starts == 1


def test_an_evaluator_that_hangs_tells_what_it_does_and_training_is_not_looked_into(tmp_path: Path) -> None:
    evaluated(tmp_path, 5)
    training = [{CHIEF: status(CHIEF, local_steps=n), WORKER: status(WORKER, local_steps=n)} for n in range(2, 12)]
    training[0][EVALUATOR] = status(EVALUATOR, local_steps=1)
    script = [*training, ALL_DONE, {EVALUATOR: status(EVALUATOR, DONE)}]
    run = Run(tmp_path, script, [CHIEF, WORKER, EVALUATOR], hang_timeout_secs=5.0)()
    assert run.group.done == ["generation 1", "stacks of evaluator-0", "restart evaluator-0"]
    assert run.events("hang", "stacks") == [("hang", "evaluator-0"), ("stacks", "evaluator-0")]


GONE = ActorLoss("its node is gone", False, gone_at=0.0)


def test_an_evaluator_whose_node_is_gone_waits_for_another_and_has_the_room_of_the_others_in_the_end(
    tmp_path: Path,
) -> None:
    evaluated(tmp_path, 5)

    def lose() -> dict[Task, Any]:
        run.group.homeless = {EVALUATOR}
        return {EVALUATOR: status(EVALUATOR, LOST, exit_code=None, loss=GONE)}

    script = [{CHIEF: status(CHIEF)}, lose, *([{}] * 5), ALL_DONE, {}, {}, {}, {EVALUATOR: status(EVALUATOR, DONE)}]
    run = Run(tmp_path, script, [CHIEF, WORKER, EVALUATOR])
    run()
    assert run.group.done == ["generation 1", "end actors", "keep evaluator-0", "replace evaluator-0"]
    assert run.events("waiting_for_nodes", "generation_ended") == [("waiting_for_nodes", "evaluator-0")]


def test_with_a_stranded_evaluator_a_lost_worker_waits_for_its_own_room_alone(tmp_path: Path) -> None:
    evaluated(tmp_path, 5)

    def lose_evaluator() -> dict[Task, Any]:
        run.group.homeless = {EVALUATOR}
        return {EVALUATOR: status(EVALUATOR, LOST, exit_code=None, loss=GONE)}

    def lose_worker() -> dict[Task, Any]:
        run.group.whole = False
        return {WORKER: status(WORKER, LOST, exit_code=None, loss=GONE)}

    def come() -> dict[Task, Any]:
        run.group.whole = True
        return {}

    alive = [{CHIEF: status(CHIEF, local_steps=n), WORKER: status(WORKER, local_steps=n)} for n in range(4, 44)]
    end = [{EVALUATOR: status(EVALUATOR, DONE)}]
    script = [{CHIEF: status(CHIEF)}, lose_evaluator, *alive, lose_worker, {}, come, {}, ALL_DONE, *([{}] * 3), *end]
    run = Run(tmp_path, script, [CHIEF, WORKER, EVALUATOR])
    run()
    done = run.group.done
    assert done[:4] == ["generation 1", "end", "keep chief-0, worker-0", "generation 2"]
    assert done[4:] == ["end actors", "keep evaluator-0", "replace evaluator-0"]


def test_a_folder_that_is_another_one_now_gets_no_new_generation(tmp_path: Path) -> None:
    def mount() -> dict[Task, Any]:
        for path in tmp_path.iterdir():
            if path.name not in ("events.jsonl", "run_state.json"):
                path.unlink()
        return {WORKER: status(WORKER, LOST, exit_code=None, loss=GONE)}

    run = Run(tmp_path, [{}, mount], [CHIEF, WORKER])
    with pytest.raises(InfrastructureError, match="--train_dir"):
        run()
    assert run.group.done == ["generation 1", "end"] and not (tmp_path / "generation.json").exists()


def test_an_evaluator_begins_on_another_node_once_that_was_looked_at(tmp_path: Path) -> None:
    lost = {EVALUATOR: status(EVALUATOR, LOST, exit_code=None, loss=GONE)}
    evaluated(tmp_path, 5)
    later = [{CHIEF: status(CHIEF, local_steps=n), WORKER: status(WORKER, local_steps=n)} for n in range(4, 40)]
    end = [ALL_DONE, {}, {EVALUATOR: status(EVALUATOR, DONE)}]
    run = Run(tmp_path, [{CHIEF: status(CHIEF)}, lost, *later, *end], [CHIEF, WORKER, EVALUATOR])
    run.group.bad_nodes = [InfrastructureError("A node of the cluster cannot be looked at")]
    run()
    assert run.group.done == ["generation 1", "bad node", "replace evaluator-0"]

    (tmp_path / "other").mkdir()
    run = Run(tmp_path / "other", [{CHIEF: status(CHIEF)}, lost, {}, ALL_DONE])
    run.group.bad_nodes = [UserError("node-b cannot read the data")]
    with pytest.raises(UserError, match="node-b cannot read the data"):
        run()
    assert run.group.done == ["generation 1", "bad node"] and run.events("evaluator_given_up", "training_finished")


def test_an_evaluator_that_has_just_begun_does_not_hang_since_training_was_long_in_coming(tmp_path: Path) -> None:
    evaluated(tmp_path, 5)

    def train() -> dict[Task, Any]:
        run.group.time += 500  # nodes were waited for
        return {CHIEF: status(CHIEF), WORKER: status(WORKER), EVALUATOR: status(EVALUATOR, STARTING)}

    script = [{}, train, ALL_DONE, {EVALUATOR: status(EVALUATOR, DONE)}]
    run = Run(tmp_path, script, [CHIEF, WORKER, EVALUATOR], hang_timeout_secs=60.0)
    run()
    assert not run.events("hang", "process_restarted") and run.group.evaluator_starts == 1


def test_checkpoints_are_kept_for_an_evaluator_that_does_not_say_that_it_is_there(tmp_path: Path) -> None:
    evaluated(tmp_path, 5)
    watched: list[bool] = []

    def look() -> dict[Task, Any]:
        watched.append(awaits_evaluation(run.train_dir, evaluator_planned=False))
        return {}

    run = Run(tmp_path, [{CHIEF: status(CHIEF)}, {}, look, ALL_DONE, {EVALUATOR: status(EVALUATOR, DONE)}])
    run()
    assert watched == [True]


def test_a_checkpoint_that_was_torn_with_a_node_is_set_aside_before_the_next_generation(tmp_path: Path) -> None:
    gone = status(WORKER, LOST, exit_code=None, loss=GONE)

    write_checkpoint(tmp_path, 3)

    def tear() -> dict[Task, Any]:
        for path in tmp_path.glob("model.ckpt-5.data*"):
            path.write_bytes(b"")
        return {WORKER: gone}

    with pytest.raises(InfrastructureError, match="last step is not in --train_dir"):
        Run(tmp_path, [{}, tear, {}, {}, ALL_DONE], [CHIEF, WORKER])()
    assert [path.name for path in (tmp_path / "torn").rglob("*.index")] == ["model.ckpt-5.index"]


def test_an_evaluation_that_takes_too_long_is_not_waited_for_for_ever(tmp_path: Path) -> None:
    write_checkpoint(tmp_path, 5)
    with pytest.raises(InfrastructureError, match="last checkpoint is not evaluated") as caught:
        Run(tmp_path, [ALL_DONE], final_evaluation_timeout_secs=30.0)()
    assert "--final_evaluation_timeout_secs" in caught.value.found


def test_a_run_whose_last_checkpoint_is_not_evaluated_does_not_end_well(tmp_path: Path) -> None:
    write_checkpoint(tmp_path, 5)
    evaluated(tmp_path, 3)
    with pytest.raises(InfrastructureError, match="last checkpoint is not evaluated") as caught:
        Run(tmp_path, [ALL_DONE, {EVALUATOR: status(EVALUATOR, DONE)}])()
    assert "step 5" in caught.value.found and "launch.eval --run_once" in caught.value.change
