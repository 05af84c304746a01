"""The evaluator of a supervised run: never in the way of training, and done in the end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cvd_cluster.errors import RoleError, RoleLostError
from cvd_cluster.roles.role_status import ActorLoss, RolePhase
from cvd_cluster.topology import Task
from estimators.checkpoints.checkpoint_files import awaits_evaluation
from estimators.errors import InfrastructureError, StoppedError, UserError
from estimators.train_dir.run_state import RunState
from tests.cvd_cluster.fakes import status
from tests.cvd_cluster.supervised_run import (
    ALL_DONE,
    CHIEF,
    DONE,
    EVALUATOR,
    FAILED,
    GONE,
    LOST,
    STARTING,
    WORKER,
    Run,
    evaluated,
)
from tests.estimators.made_checkpoints import write_checkpoint


def test_without_an_evaluator_a_run_ends_with_training(tmp_path: Path) -> None:
    run = Run(tmp_path, [ALL_DONE], [CHIEF, WORKER])()
    assert run.state is RunState.EVALUATING, "the caller says how it ended"


def test_a_chief_that_has_nothing_to_train_still_gets_its_evaluation(tmp_path: Path) -> None:
    write_checkpoint(tmp_path, 5)
    evaluated(tmp_path, 5)
    never = {task: status(task, DONE, first_step_time=None, local_steps=0) for task in (CHIEF, WORKER)}
    run = Run(tmp_path, [never, {EVALUATOR: status(EVALUATOR, DONE)}])()
    assert run.group.evaluator_starts == 1 and "steps made: chief-0 0; worker-0 0" in run.lines


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


def test_a_node_that_only_the_evaluator_cannot_use_keeps_nobody_from_a_new_generation(tmp_path: Path) -> None:
    evaluated(tmp_path, 5)
    killed = {WORKER: status(WORKER, LOST, exit_code=-9)}
    lost = {EVALUATOR: status(EVALUATOR, LOST, exit_code=None, loss=GONE)}
    script = [{CHIEF: status(CHIEF)}, lost, {}, killed, *([{}] * 4), ALL_DONE, {}, {}]
    run = Run(tmp_path, script, [CHIEF, WORKER, EVALUATOR], strategy="multi_worker_mirrored")
    run.group.bad_evaluator_node = UserError("node-b cannot read the data")
    with pytest.raises(UserError, match="node-b cannot read the data"):
        run()
    assert run.group.done[:3] == ["generation 1", "end", "generation 2"]
    assert run.events("evaluator_given_up", "training_finished") == [
        ("evaluator_given_up", "evaluator-0"),
        ("training_finished", "chief-0"),
    ]


def test_nor_where_the_room_is_another_one(tmp_path: Path) -> None:
    evaluated(tmp_path, 5)

    def lose_worker() -> dict[Task, Any]:
        run.group.whole = False
        return {WORKER: status(WORKER, LOST, exit_code=None, loss=GONE)}

    end = [{CHIEF: ALL_DONE[CHIEF]}, {}, {EVALUATOR: status(EVALUATOR, DONE)}]
    script = [{CHIEF: status(CHIEF)}, lose_worker, *([{}] * 4), *end]
    run = Run(tmp_path, script, [CHIEF, WORKER, EVALUATOR], min_workers=1)
    run.group.bad_evaluator_node = InfrastructureError("node-b cannot be looked at")
    run()
    assert run.group.done[:4] == ["generation 1", "end", "shrunk", "generation 2"]
    assert any("the evaluator waits until training has ended: node-b" in line for line in run.lines)


def test_a_stop_while_the_evaluators_node_is_looked_at_begins_no_generation(tmp_path: Path) -> None:
    def lose_worker() -> dict[Task, Any]:
        run.group.whole = False
        return {WORKER: status(WORKER, LOST, exit_code=None, loss=GONE)}

    run = Run(tmp_path, [{CHIEF: status(CHIEF)}, lose_worker, *([{}] * 4)], [CHIEF, WORKER, EVALUATOR], min_workers=1)
    run.group.bad_evaluator_node = StoppedError("Stopped by SIGTERM")
    with pytest.raises(StoppedError):
        run()
    assert run.group.done[:3] == ["generation 1", "end", "shrunk"] and "generation 2" not in run.group.done


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
