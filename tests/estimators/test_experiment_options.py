from __future__ import annotations

import json

import pytest

from estimators.errors import UserError
from estimators.experiment_options import ExperimentOptions


def options(**values: object) -> ExperimentOptions:
    return ExperimentOptions(**{"train_dir": "/t", "train_data_pattern": "/d/*", **values})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("batch_size", 0),
        ("num_epochs", 0),
        ("max_steps", 0),
        ("image_size", 7),
        ("num_classes", 1),
        ("base_learning_rate", 0.0),
        ("learning_rate_decay", 0.0),
        ("learning_rate_decay", 1.01),
        ("clip_gradient_norm", -1.0),
        ("keep_checkpoint_max", -1),
        ("save_checkpoints_steps", 0),
        ("seed", -1),
        ("cache", "gpu"),
        ("on_bad_record", "ignore"),
        ("optimizer", "Adam"),
        ("eval_data_pattern", ""),
        ("train_data_pattern", " "),
    ],
)
def test_a_value_out_of_range_is_told_with_its_flag(name: str, value: object) -> None:
    with pytest.raises(UserError, match=f"--{name}"):
        options(**{name: value})


def test_an_unknown_optimizer_lists_the_right_ones() -> None:
    with pytest.raises(UserError, match=r"AdamOptimizer.*GradientDescentOptimizer"):
        options(optimizer="Adam")


DECAYS = {"learning_rate_decay": 0.95, "learning_rate_decay_examples": 4_000_000}  # their defaults


def from_flags(**given: object) -> ExperimentOptions:
    return ExperimentOptions.from_flags({"train_dir": "/t", "train_data_pattern": "/d/*", **given})


@pytest.mark.parametrize("given", [("learning_rate_decay",), ("learning_rate_decay_examples",), tuple(DECAYS)])
def test_a_decay_that_a_cosine_knows_nothing_of_is_refused_if_it_was_given(given: tuple[str, ...]) -> None:
    decays = {name: DECAYS[name] for name in given}
    with pytest.raises(UserError, match=f"--{given[0]} does nothing beside --learning_rate_schedule=cosine") as caught:
        from_flags(learning_rate_schedule="cosine", **decays)
    for name in given:
        assert f"--{name}={decays[name]}" in caught.value.asked and f"--{name}" in caught.value.change
    assert "--learning_rate_schedule=exponential" in caught.value.change
    assert from_flags(**decays) == from_flags(learning_rate_schedule="exponential", **DECAYS)
    assert from_flags(learning_rate_schedule="cosine").learning_rate_decay == 0.95, "a default asks for nothing"


def test_whether_a_loss_was_asked_for_is_known_also_where_it_is_the_default() -> None:
    assert from_flags(label_loss="CrossEntropyLoss").label_loss_given
    assert not from_flags().label_loss_given and not options(label_loss="HingeLoss").label_loss_given


def test_the_limits_are_allowed() -> None:
    options(learning_rate_decay=1.0, clip_gradient_norm=0.0, keep_checkpoint_max=0, seed=0, num_epochs=1, image_size=8)


def test_options_come_back_out_of_json() -> None:
    made = options(eval_data_pattern="/e/*", seed=3, max_steps=7)
    assert ExperimentOptions.from_json(json.loads(json.dumps(made.to_json())), source="s") == made


def test_what_decides_the_variables_is_fixed_by_checkpoints_and_the_rest_is_not() -> None:
    base = options().fixed_by_checkpoints()
    for name, value in {
        "model": "CnnModel",
        "num_classes": 3,
        "image_size": 64,
        "optimizer": "AdagradOptimizer",
    }.items():
        assert options(**{name: value}).fixed_by_checkpoints() != base
    other_run = options(train_dir="/u", batch_size=7, num_epochs=9, base_learning_rate=0.5, cache="none")
    assert other_run.fixed_by_checkpoints() == base
