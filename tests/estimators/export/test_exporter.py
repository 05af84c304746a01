from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from estimators import storage
from estimators.checkpoints.checkpoint_files import Checkpoint, latest_checkpoint
from estimators.experiment_options import ExperimentOptions
from estimators.export.exporter import export_checkpoint
from estimators.records.record_schema import serialize_example
from estimators.train_dir.exports import exported_steps
from tests.estimators.drawn_records import picture, record
from tests.estimators.small_run import small_options, train

pytestmark = pytest.mark.filterwarnings(r"ignore:`tf\.layers\.")


@pytest.fixture(scope="module")
def options(tmp_path_factory: pytest.TempPathFactory) -> ExperimentOptions:
    """Of a run of LogisticModel whose last step, 3, is exported."""
    made = small_options(tmp_path_factory.mktemp("exporter"), max_steps=3)
    train(made)
    return made


@pytest.fixture(scope="module")
def signature(options: ExperimentOptions) -> Any:
    signatures = tf.saved_model.load(f"{options.train_dir}/export/step_3").signatures
    assert set(signatures) == {"serving_default"}
    return signatures["serving_default"]


def checkpoint_of(options: ExperimentOptions) -> Checkpoint:
    latest = latest_checkpoint(options.train_dir)
    assert latest is not None
    return latest


def predict(signature: Any, *records: bytes) -> dict[str, Any]:
    outputs = signature(example_bytes=tf.constant(list(records), tf.string))
    return {name: tensor.numpy() for name, tensor in outputs.items()}


def test_the_signature_takes_example_bytes_and_gives_ids_classes_and_predictions(signature: Any) -> None:
    _, inputs = signature.structured_input_signature
    assert {name: (spec.dtype, spec.shape.as_list()) for name, spec in inputs.items()} == {
        "example_bytes": (tf.string, [None])
    }
    assert {name: (tensor.dtype, tensor.shape.as_list()) for name, tensor in signature.structured_outputs.items()} == {
        "image_id": (tf.string, [None]),
        "class_indexes": (tf.int32, [None, 2]),
        "predictions": (tf.float32, [None, 2]),
    }


def test_predictions_are_those_of_the_checkpoint_best_first(signature: Any, options: ExperimentOptions) -> None:
    greys = [0, 60, 128, 200, 255]
    out = predict(signature, *(record(grey, label=None) for grey in greys))
    values = tf.train.load_checkpoint(checkpoint_of(options).prefix)
    weights, bias = values.get_tensor("weights"), values.get_tensor("biases")
    p = 1 / (1 + np.exp(-(np.array(greys) / 127.5 - 1) * weights.sum() - bias))
    assert out["image_id"].tolist() == [f"{grey}.jpg".encode() for grey in greys]
    assert out["class_indexes"].tolist() == [[1, 0] if one > 0.5 else [0, 1] for one in p]
    np.testing.assert_allclose(out["predictions"], np.stack([np.maximum(p, 1 - p), np.minimum(p, 1 - p)], 1), atol=1e-5)


def test_a_batch_may_mix_sizes_and_formats_and_labels_are_not_needed(signature: Any) -> None:
    pictures = [
        picture(100),
        picture(100, size=(8, 300)),
        picture(100, size=(700, 500)),
        picture(100, size=(3, 2)),
        picture(100, mode="L"),
        picture(100, mode="CMYK"),
        picture(100, format="PNG"),
    ]
    out = predict(
        signature, *(serialize_example(data, str(i), None if i % 2 else 5) for i, data in enumerate(pictures))
    )
    assert out["image_id"].tolist() == [str(i).encode() for i in range(7)]
    assert (out["class_indexes"] == out["class_indexes"][0]).all()
    np.testing.assert_allclose(out["predictions"], np.tile(out["predictions"][0], (7, 1)), atol=1e-6)


def test_a_batch_may_be_empty(signature: Any) -> None:
    out = predict(signature)
    assert out["image_id"].shape == (0,) and out["predictions"].shape == out["class_indexes"].shape == (0, 2)


@pytest.mark.parametrize("data", [b"\x07garbage", serialize_example(b"hello", "x"), serialize_example(b"", "x")])
def test_a_record_that_cannot_be_used_is_an_error(signature: Any, data: bytes) -> None:
    with pytest.raises(tf.errors.InvalidArgumentError):
        predict(signature, record(1), data)


def test_only_whole_exports_lie_there(options: ExperimentOptions) -> None:
    assert os.listdir(f"{options.train_dir}/export") == ["step_3"] and exported_steps(options.train_dir) == [3]


def test_an_export_that_is_there_stays_as_it_is(options: ExperimentOptions) -> None:
    path = Path(options.train_dir) / "export" / "step_3" / "saved_model.pb"
    before = path.stat()
    assert export_checkpoint(options, checkpoint_of(options)) == str(path.parent)
    assert path.stat() == before


def test_an_export_that_fails_leaves_nothing_behind(
    options: ExperimentOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = ExperimentOptions(**{**options.to_json(), "train_dir": str(tmp_path)})

    def fail(source: str, target: str, *, last: str) -> None:
        assert os.path.exists(f"{source}/{last}"), "it is complete before it gets its name"
        assert os.path.basename(os.path.dirname(source)).startswith(".") and not os.path.exists(target)
        raise OSError("the disk is full")

    with monkeypatch.context() as patched:
        patched.setattr(storage, "publish_folder", fail)
        with pytest.raises(OSError, match="the disk is full"):
            export_checkpoint(elsewhere, checkpoint_of(options))
    assert os.listdir(tmp_path / "export") == []
    export_checkpoint(elsewhere, checkpoint_of(options))
    assert os.listdir(tmp_path / "export") == ["step_3"]


def test_a_chief_of_a_cluster_exports_by_itself(
    options: ExperimentOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = '{"cluster": {"chief": ["a:1"], "ps": ["b:1"]}, "task": {"type": "chief", "index": 0}}'
    monkeypatch.setenv("TF_CONFIG", cluster)
    elsewhere = ExperimentOptions(**{**options.to_json(), "train_dir": str(tmp_path)})
    export_checkpoint(elsewhere, checkpoint_of(options))
    assert os.environ["TF_CONFIG"] == cluster
    made = tf.saved_model.load(f"{tmp_path}/export/step_3")
    assert predict(made.signatures["serving_default"], record(5))["image_id"].tolist() == [b"5.jpg"]


def test_what_another_process_is_exporting_is_left_alone_and_its_finished_export_taken(
    options: ExperimentOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = dataclasses.replace(checkpoint_of(options))
    exports = Path(options.train_dir, "export")
    target, aside = exports / "step_3", exports / "aside"
    target.rename(aside)
    at_work, left = exports / ".step_3.11111111.partial", exports / ".step_2.22222222.partial"
    for folder in (at_work, left):
        folder.mkdir()
    os.utime(left, (1, 1))
    publish = storage.publish_folder

    def another_is_quicker(source: str, where: str, *, last: str) -> None:
        aside.rename(target)
        publish(source, where, last=last)

    monkeypatch.setattr(storage, "publish_folder", another_is_quicker)
    assert export_checkpoint(options, checkpoint) == str(target)
    assert at_work.exists() and not left.exists()
    at_work.rmdir()
    assert sorted(path.name for path in exports.iterdir()) == ["step_3"]


def test_several_columns_are_exported_best_first(tmp_path: Path) -> None:
    options = small_options(tmp_path, max_steps=1, num_classes=3)
    train(options)
    made = tf.saved_model.load(f"{options.train_dir}/export/step_1").signatures["serving_default"]
    out = predict(made, *(record(grey) for grey in (0, 90, 255)))
    assert out["predictions"].shape == (3, 3) and (np.diff(out["predictions"], axis=1) <= 0).all()
    assert [sorted(row) for row in out["class_indexes"].tolist()] == [[0, 1, 2]] * 3
