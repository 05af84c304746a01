from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from cvd_cluster.errors import RoleError, RoleLostError
from cvd_cluster.roles.role_status import ActorLoss, RoleStatus
from cvd_cluster.supervision import supervisor
from cvd_cluster.topology import Task
from estimators.errors import InfrastructureError, StoppedError, UserError
from estimators.train_dir.generation import FencedError, begin_generation, current_generation
from estimators.train_dir.run_state import RunState
from tests.cvd_cluster.fakes import failure, status
from tests.cvd_cluster.supervised_run import (
    ALL_DONE,
    CHIEF,
    DONE,
    ECHO,
    EVALUATOR,
    FAILED,
    FINISHED,
    GONE,
    LOST,
    PS,
    WORKER,
    Run,
    evaluated,
)
from tests.estimators.made_checkpoints import write_checkpoint


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


def test_a_run_that_stood_still_until_another_took_its_place_touches_nothing(tmp_path: Path) -> None:
    def another_takes_over() -> dict[Task, Any]:
        begin_generation(str(tmp_path))
        (tmp_path / "model.ckpt-9_temp").mkdir()  # what it is saving
        return {WORKER: status(WORKER, LOST)}

    trained = {CHIEF: status(CHIEF), WORKER: status(WORKER)}
    run = Run(tmp_path, [trained, another_takes_over, *([{}] * 12)], [CHIEF, WORKER], strategy="multi_worker_mirrored")
    with pytest.raises(FencedError):
        run()
    assert run.group.done[-1] == "end" and current_generation(run.train_dir) == 2
    assert (tmp_path / "model.ckpt-9_temp").exists() and not run.events("run_ended")


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
