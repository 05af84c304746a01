"""A new run that begins with another one's variables."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from estimators.checkpoints.checkpoint_files import latest_checkpoint
from estimators.checkpoints.warm_start import find_checkpoint
from estimators.errors import UserError
from estimators.preparation import prepare_run
from tests.estimators.small_run import Recorder, small_options, train


def tensors(folder: str, step: int) -> dict[str, np.ndarray]:  # type: ignore[type-arg]
    reader = tf.train.load_checkpoint(f"{folder}/model.ckpt-{step}")
    return {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()}


@pytest.fixture
def trained(tmp_path: Path) -> str:
    options = small_options(tmp_path, train_dir=str(tmp_path / "first"), max_steps=3)
    train(options)
    return options.train_dir


def continued(tmp_path: Path, trained: str, **values: object) -> tuple[str, Recorder]:
    options = small_options(tmp_path, warm_start_from=trained, seed=2, **{"max_steps": 2, **values})
    return options.train_dir, train(options)


def test_a_new_run_begins_with_the_variables_of_another_and_its_own_step(tmp_path: Path, trained: str) -> None:
    folder, reporter = continued(tmp_path, trained)
    source, begun = tensors(trained, 3), tensors(folder, 0)
    np.testing.assert_array_equal(begun["weights"], source["weights"])
    assert begun["global_step"] == 0 and not begun["weights/Adam"].any(), "the optimizer begins anew"
    assert reporter.lines_with("2 of 2 variables begin as in ")


def test_what_has_another_shape_begins_anew_and_is_named(tmp_path: Path) -> None:
    options = small_options(tmp_path, train_dir=str(tmp_path / "first"), max_steps=1, model="CnnModel")
    train(options)
    folder, reporter = continued(tmp_path, options.train_dir, model="CnnModel", num_classes=3)
    (line,) = reporter.lines_with("6 of 8 variables begin as in ")
    assert line.endswith("these begin anew, since their name or shape is not in it: dense/bias, dense/kernel")
    source, begun = tensors(options.train_dir, 1), tensors(folder, 0)
    np.testing.assert_array_equal(begun["conv2d/kernel"], source["conv2d/kernel"])
    assert begun["dense/kernel"].shape == (64, 3)


def test_a_checkpoint_of_a_wholly_different_model_is_refused(tmp_path: Path, trained: str) -> None:
    with pytest.raises(UserError, match="no variable of this model") as caught:
        continued(tmp_path, trained, model="CnnModel")
    assert "weights" in caught.value.found and "conv2d/kernel" in caught.value.found


def test_a_run_that_is_continued_keeps_its_own_variables(tmp_path: Path, trained: str) -> None:
    lines: list[str] = []
    folder, _ = continued(tmp_path, trained)
    before = tensors(folder, 2)["weights"]
    reporter = train(small_options(tmp_path, warm_start_from=trained, max_steps=4))
    assert not reporter.lines_with("2 of 2 variables")
    prepare_run(
        small_options(tmp_path, warm_start_from="/nowhere", max_steps=6),
        strategy="local",
        start_new_model=False,
        announce=lines.append,
    )
    assert any("continued from step 4: --warm_start_from is for a run that begins" in line for line in lines)
    assert np.abs(tensors(folder, 4)["weights"] - before).max() < 0.05, "two small steps from where it was"
    assert latest_checkpoint(folder).step == 4  # type: ignore[union-attr]


def test_a_checkpoint_is_named_by_its_folder_or_its_prefix(trained: str) -> None:
    assert find_checkpoint(trained) == f"{trained}/model.ckpt-3"
    assert find_checkpoint(f"{trained}/model.ckpt-0") == f"{trained}/model.ckpt-0"


@pytest.mark.parametrize(("path", "told"), [("nowhere", "nowhere.index"), ("", "without a complete checkpoint")])
def test_what_is_no_checkpoint_is_told(path: str, told: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="No checkpoint to start from") as caught:
        find_checkpoint(str(tmp_path / path))
    assert told in caught.value.found


@pytest.mark.parametrize("named", ["{0}", "{0}/", "{0}/model.ckpt-3", "{0}/../first"])
def test_a_checkpoint_that_would_be_deleted_first_is_refused(named: str, tmp_path: Path, trained: str) -> None:
    options = small_options(tmp_path, train_dir=trained, warm_start_from=named.format(trained), max_steps=4)
    with pytest.raises(UserError, match="would delete the checkpoint to start from"):
        prepare_run(options, strategy="local", start_new_model=True)
    beside = small_options(tmp_path, train_dir=f"{trained}_2", warm_start_from=named.format(trained), max_steps=4)
    assert prepare_run(beside, strategy="local", start_new_model=True).warm_start_from is not None
