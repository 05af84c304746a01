from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from estimators.checkpoints.checkpoint_files import latest_checkpoint, list_checkpoints
from estimators.errors import DataError, UserError
from estimators.train_dir.exports import exported_steps
from estimators.train_dir.training_progress import read_progress
from tests.estimators.drawn_records import flip, numbered_file, offset_of, record, write_file
from tests.estimators.small_run import small_options, train

pytestmark = pytest.mark.filterwarnings(r"ignore:`tf\.layers\.")
MODELS = "tests.estimators.sample_models"


def steps(train_dir: str) -> list[int]:
    return [checkpoint.step for checkpoint in list_checkpoints(train_dir)]


def variables(train_dir: str) -> dict[str, Any]:
    """Name -> value in the newest checkpoint."""
    latest = latest_checkpoint(train_dir)
    assert latest is not None
    reader = tf.train.load_checkpoint(latest.prefix)
    return {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()}


def test_a_run_reports_saves_exports_and_resumes(tmp_path: Path) -> None:
    options = small_options(
        tmp_path, max_steps=6, save_checkpoints_steps=2, export_model_steps=3, keep_checkpoint_max=2
    )
    told = train(options)
    assert [int(re.findall(r"\d+", line)[0]) for line in told.lines_with("training step")] == [1, 2, 3, 4, 5, 6]
    assert told.saved == [0, 2, 3, 4, 6] and told.finished == [6] and told.progressed[-1] == (6, 6)
    assert steps(options.train_dir) == [4, 6], "keep_checkpoint_max=2"
    assert exported_steps(options.train_dir) == [3, 6]
    assert [line.split(" to ")[0] for line in told.lines_with("exported")] == ["exported step 3", "exported step 6"]

    told = train(small_options(tmp_path, max_steps=8))
    assert [int(re.findall(r"\d+", line)[0]) for line in told.lines_with("training step")] == [7, 8]
    assert told.finished == [8] and exported_steps(options.train_dir) == [3, 6, 8] and told.progressed[-1] == (8, 2)

    shutil.rmtree(f"{options.train_dir}/export/step_8")  # as if the run had been killed before its last export
    told = train(small_options(tmp_path, max_steps=8))
    assert told.lines_with("nothing to train: step 8 of 8") and told.finished == [8] and told.progressed == []
    assert exported_steps(options.train_dir) == [3, 6, 8]


@pytest.mark.parametrize(
    ("model", "augment"),
    [("LogisticModel", False), ("CnnModel", True), ("ResNetModel", True), (f"{MODELS}:KerasDropout", False)],
)
def test_a_seed_gives_the_same_checkpoint_in_each_run(model: str, augment: bool, tmp_path: Path) -> None:
    # Twelve batches of four are two passes over the data.
    runs = [
        small_options(
            tmp_path, train_dir=str(tmp_path / name), model=model, augment=augment, image_size=16, max_steps=12, seed=3
        )
        for name in ("a", "b")
    ]
    for options in runs:
        train(options)
    first, second = (variables(options.train_dir) for options in runs)
    assert set(first) == set(second)
    for name, values in first.items():
        np.testing.assert_array_equal(values, second[name], err_msg=name)


def test_damage_that_is_met_later_is_named_and_checkpoints_stay(tmp_path: Path) -> None:
    options = small_options(tmp_path, max_steps=3)
    train(options)
    path, offset = str(tmp_path / "data" / "train-1"), offset_of(map(record, range(80, 83)))
    intact = Path(path).read_bytes()
    flip(path, offset + 40)
    with pytest.raises(DataError) as caught:
        train(small_options(tmp_path, max_steps=30))
    assert f"at byte {offset}: the checksum of the record's data is wrong" in caught.value.found
    assert path in caught.value.asked

    write_file(Path(path), [record(i, label=7 if i == 83 else 0) for i in range(80, 88)])
    with pytest.raises(DataError) as caught:
        train(small_options(tmp_path, max_steps=30))
    assert f"{path}, record at byte {offset} (83.jpg): its label 7 is outside [0, 2)" in caught.value.found
    assert 3 in steps(options.train_dir) and exported_steps(options.train_dir) == [3]

    Path(path).write_bytes(intact)
    assert train(small_options(tmp_path, max_steps=5)).finished == [5]


def test_bad_records_can_be_left_out_and_are_counted(tmp_path: Path) -> None:
    options = small_options(tmp_path, max_steps=4, on_bad_record="skip")
    write_file(tmp_path / "data" / "train-1", [record(i, label=7 if i == 83 else 0) for i in range(80, 88)])
    told = train(options)
    assert told.finished == [4] and len(told.lines_with("skipped a bad record: 83.jpg")) == 1
    assert told.lines[-1].startswith("bad records skipped: 1")


def test_a_run_of_which_every_record_is_bad_fails_and_exports_nothing(tmp_path: Path) -> None:
    options = small_options(tmp_path, max_steps=4, on_bad_record="skip")
    for i in range(3):
        write_file(tmp_path / "data" / f"train-{i}", [record(i, label=7)])
    with pytest.raises(DataError, match="No record is left to train on") as caught:
        train(options)
    assert "--train_data_pattern" in caught.value.change and exported_steps(options.train_dir) == []


@pytest.mark.parametrize(
    ("model", "save_checkpoints_steps", "told"),
    [
        ("NanLossInStep10", 5, "The loss is NaN in step 10,"),
        ("NanWeightsAfterStep10", 5, "Variables are NaN or infinite after step 10,"),
        ("NanWeightsAfterStep10", 7, "The loss is NaN in step 11,"),
        ("NanAverageAfterStep10", 5, "Variables are NaN or infinite after step 10,"),
    ],
)
def test_where_numbers_end_training_ends_and_the_newest_checkpoint_is_a_good_one(
    tmp_path: Path, model: str, save_checkpoints_steps: int, told: str
) -> None:
    options = small_options(
        tmp_path,
        max_steps=30,
        model=f"{MODELS}:{model}",
        save_checkpoints_steps=save_checkpoints_steps,
        keep_checkpoint_max=1,
    )
    with pytest.raises(UserError, match=told) as caught:
        train(options)
    assert "--base_learning_rate" in caught.value.change
    assert f"the checkpoint of step {save_checkpoints_steps} is from before" in caught.value.found
    assert steps(options.train_dir) == [save_checkpoints_steps]
    assert all(np.isfinite(value).all() for value in variables(options.train_dir).values())


def test_predictions_that_are_nan_have_no_metrics_in_the_line_of_a_step(tmp_path: Path) -> None:
    options = small_options(tmp_path, max_steps=2, model=f"{MODELS}:NanPredictions", log_every_n_steps=1)
    told = train(options).lines_with("training step")
    assert len(told) == 2 and all("Hit@1: nan PERR: nan GAP: nan" in line for line in told), told
    progress = read_progress(options.train_dir)
    assert progress is not None and list(progress.metrics) == ["loss"]


def test_a_model_that_begins_with_nan_saves_nothing(tmp_path: Path) -> None:
    options = small_options(tmp_path, max_steps=4, model=f"{MODELS}:NanModel")
    with pytest.raises(UserError, match="Variables are NaN or infinite after step 0") as caught:
        train(options)
    assert caught.value.found == "1 of 5 variables: w; no checkpoint yet" and steps(options.train_dir) == []


@pytest.mark.parametrize("on_bad_record", ["fail", "skip"])
def test_a_mistake_in_the_model_is_not_put_down_to_the_data(tmp_path: Path, on_bad_record: str) -> None:
    options = small_options(tmp_path, max_steps=4, model=f"{MODELS}:BrokenInTheGraph", on_bad_record=on_bad_record)
    if on_bad_record == "skip":
        write_file(tmp_path / "data" / "train-2", [record(1, label=7), record(2)])
    with pytest.raises(tf.errors.InvalidArgumentError, match="a mistake of the model"):
        train(options)


def test_a_loss_falls_on_pictures_that_can_be_told_apart(tmp_path: Path) -> None:
    dark, light = (
        [record(i, label=label) for i in numbers] for label, numbers in ((0, range(20)), (1, range(230, 250)))
    )
    (tmp_path / "data").mkdir()
    write_file(tmp_path / "data" / "train-0", dark + light)
    numbered_file(tmp_path / "data" / "validation-0", range(3))
    told = train(small_options(tmp_path, num_epochs=10, batch_size=8))
    losses = [float(re.findall(r"Loss: ([\d.]+)", line)[0]) for line in told.lines_with("training step")]
    assert len(losses) == 50 and max(losses[-5:]) < 0.2
    assert "Hit@1: 1.00" in told.lines_with("training step")[-1]
