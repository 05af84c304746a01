from __future__ import annotations

import json

import pytest

from estimators.errors import UserError
from estimators.experiment_options import ExperimentOptions
from estimators.inputs.data_check import DataFiles
from estimators.training_plan import TrainingPlan, make_plan


def plan(
    strategy: str = "local", num_workers: int = 1, examples: int = 1200, replicas: int = 1, **values: object
) -> TrainingPlan:
    options = ExperimentOptions(train_dir="/t", train_data_pattern="/d", **{"batch_size": 128, **values})  # type: ignore[arg-type]
    data = DataFiles(("/d/0", "/d/1"), (examples // 2, examples - examples // 2))
    return make_plan(
        options,
        strategy=strategy,  # type: ignore[arg-type]
        num_workers=num_workers,
        replicas_per_worker=replicas,
        train_data=data,
        eval_data=None,
    )


@pytest.mark.parametrize(
    ("strategy", "num_workers", "examples_per_step", "max_steps"),
    [
        ("local", 1, 128, 94),  # 10 * 1200 / 128 = 93.75
        ("multi_worker_mirrored", 2, 256, 47),  # all replicas make one step together
        ("multi_worker_mirrored", 3, 384, 32),  # 31.25
        ("parameter_server", 2, 128, 94),  # each worker's batch is a step of its own
    ],
)
def test_epochs_become_steps_that_all_workers_share(
    strategy: str, num_workers: int, examples_per_step: int, max_steps: int
) -> None:
    made = plan(strategy, num_workers, num_epochs=10)
    assert (made.examples_per_step, made.max_steps) == (examples_per_step, max_steps)


def test_max_steps_alone_is_the_number_of_steps() -> None:
    assert plan(max_steps=3).max_steps == 3 and plan(max_steps=100_000).max_steps == 100_000


def test_of_both_limits_the_first_to_be_reached_ends_training() -> None:
    assert plan(num_epochs=10, max_steps=50).max_steps == 50
    assert plan(num_epochs=10, max_steps=500).max_steps == 94


def test_without_a_limit_five_epochs_are_trained() -> None:
    assert plan().max_steps == plan(num_epochs=5).max_steps == 47


def test_less_data_than_a_batch_still_makes_a_step_and_whole_epochs_no_step_more() -> None:
    assert plan(examples=5, num_epochs=1).max_steps == 1
    assert plan(examples=256, num_epochs=3).max_steps == 6


def test_replicas_in_one_process_make_one_step_together() -> None:
    made = plan("mirrored", 1, replicas=4, num_epochs=10)
    assert (made.examples_per_step, made.max_steps) == (512, 24)  # 23.4
    # Two workers with four GPUs each.
    assert plan("multi_worker_mirrored", 2, replicas=4).examples_per_step == 8 * 128


def test_fewer_examples_than_replicas_are_refused() -> None:
    # One of the workers would have nothing to read, and the others would wait for it for ever.
    with pytest.raises(UserError, match="3 replicas") as caught:
        plan("multi_worker_mirrored", 3, examples=2)
    assert "2 examples" in caught.value.found
    assert plan("multi_worker_mirrored", 2, examples=2).max_steps == 1


@pytest.mark.parametrize("eval_data", [None, DataFiles(("/e",), (3,))])
def test_a_plan_travels_as_json(eval_data: DataFiles | None) -> None:
    made = TrainingPlan("parameter_server", 3, 1, DataFiles(("/a", "/b"), (1, 2)), eval_data, 8, 5)
    assert TrainingPlan.from_json(json.loads(json.dumps(made.to_json()))) == made
