from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from estimators.errors import UserError
from estimators.experiment_options import ExperimentOptions
from estimators.hooks.step_report import StepReportHook
from estimators.model_graph.model_fn import StepReportSettings, as_targets, make_model_fn
from tests.estimators.sample_models import ScaledMean

MODES = tf.estimator.ModeKeys
MODELS = "tests.estimators.sample_models"
# Four pictures, the mean of each, and their labels.
MEANS = np.array([-1.0, -0.5, 0.5, 1.0], np.float32)
LABELS = np.array([0, 1, 1, 1])


def options(**values: object) -> ExperimentOptions:
    defaults = {
        "train_dir": "/t",
        "train_data_pattern": "/d",
        "model": f"{MODELS}:ScaledMean",
        "optimizer": "GradientDescentOptimizer",
        "base_learning_rate": 0.5,
        "clip_gradient_norm": 0.0,
    }
    return ExperimentOptions(**{**defaults, **values})  # type: ignore[arg-type]


class Built:
    """The spec of one mode in a session of its own."""

    def __init__(self, mode: str, **values: object) -> None:
        pictures = np.broadcast_to(MEANS[:, None, None, None], (4, 8, 8, 3))
        features = {"image": tf.constant(pictures), "image_id": tf.constant(["a", "b", "c", "d"])}
        self.global_step = tf.compat.v1.train.get_or_create_global_step()
        model_fn = make_model_fn(options(**values), examples_per_step=4)
        self.spec = model_fn(features, None if mode == MODES.PREDICT else tf.constant(LABELS), mode)
        self.session = tf.compat.v1.Session()
        self.session.run(tf.compat.v1.global_variables_initializer())

    def run(self, fetches: Any) -> Any:
        return self.session.run(fetches)

    def value(self, name: str) -> float:
        (variable,) = [v for v in tf.compat.v1.global_variables() if v.op.name == name]
        return float(self.run(variable))


@pytest.fixture(autouse=True)
def graph() -> Iterator[None]:
    ScaledMean.calls.clear()
    with tf.Graph().as_default():
        yield


def sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


def test_one_column_is_predicted_as_two_classes_the_likeliest_first() -> None:
    built = Built(MODES.PREDICT)
    out = built.run(built.spec.predictions)
    p = sigmoid(2 * MEANS)
    assert out["image_id"].tolist() == [b"a", b"b", b"c", b"d"]
    assert out["class_indexes"].tolist() == [[0, 1], [0, 1], [1, 0], [1, 0]]
    np.testing.assert_allclose(out["predictions"], np.stack([np.maximum(p, 1 - p), np.minimum(p, 1 - p)], 1), rtol=1e-5)
    assert set(built.spec.export_outputs) == {"serving_default"}


@pytest.mark.parametrize("mode", [MODES.TRAIN, MODES.EVAL, MODES.PREDICT])
def test_one_column_of_scores_is_refused_also_with_a_loss_of_its_own(mode: str) -> None:
    with pytest.raises(UserError, match="one column of scores"):
        Built(mode, model=f"{MODELS}:OneColumnOfScores")


@pytest.mark.parametrize(("num_classes", "shown"), [(2, 2), (3, 3), (25, 20)])
def test_of_k_columns_the_best_are_predicted_best_first(num_classes: int, shown: int) -> None:
    built = Built(MODES.PREDICT, model=f"{MODELS}:KColumns", num_classes=num_classes)
    out = built.run(built.spec.predictions)
    assert out["class_indexes"].tolist() == [list(range(shown))] * 4
    np.testing.assert_allclose(out["predictions"][0], 1 - np.arange(shown) / num_classes, rtol=1e-6)


def test_evaluation_gives_predictions_targets_and_loss_of_one_column() -> None:
    built = Built(MODES.EVAL)
    out, loss = built.run((built.spec.predictions, built.spec.loss))
    p = sigmoid(2 * MEANS)
    np.testing.assert_allclose(out["predictions"], p[:, None], rtol=1e-5)
    assert out["labels"].tolist() == [[0], [1], [1], [1]]
    expected = -(np.log(1 - p[0] + 1e-5) + np.log(p[1:] + 1e-5).sum()) / 4
    assert loss == pytest.approx(expected, rel=1e-5)


def test_evaluation_gives_one_hot_targets_for_k_columns() -> None:
    built = Built(MODES.EVAL, model=f"{MODELS}:KColumns", num_classes=3, label_loss=f"{MODELS}:SquaredLoss")
    out, loss = built.run((built.spec.predictions, built.spec.loss))
    assert out["labels"].tolist() == [[1, 0, 0], [0, 1, 0], [0, 1, 0], [0, 1, 0]]
    columns = np.array([1, 2 / 3, 1 / 3])
    assert loss == pytest.approx(np.square(out["labels"] - columns).sum(axis=1).mean(), rel=1e-5)


def test_a_training_step_goes_down_the_gradient_and_counts() -> None:
    built = Built(MODES.TRAIN)
    p = sigmoid(2 * MEANS)
    # d/dw of the cross entropy (without its epsilon) is the mean of (p - y) x.
    gradient = ((p - LABELS) * MEANS).mean()
    before = built.run(built.spec.loss)
    built.run(built.spec.train_op)
    assert built.value("weight") == pytest.approx(2 - 0.5 * gradient, rel=1e-3)
    assert built.run(built.global_step) == 1 and built.run(built.spec.loss) < before


def test_only_training_tells_the_model_that_it_trains() -> None:
    for mode in (MODES.TRAIN, MODES.EVAL, MODES.PREDICT):
        with tf.Graph().as_default():
            Built(mode)
    assert ScaledMean.calls == [(2, True), (2, False), (2, False)]


@pytest.mark.parametrize("weight", [0.0, 1.0, 0.5])
def test_penalties_of_the_model_count_in_training_only(weight: float) -> None:
    how = {"model": f"{MODELS}:Penalized", "label_loss": f"{MODELS}:SquaredLoss", "regularization_penalty": weight}
    built = Built(MODES.TRAIN, **how)
    assert built.run(built.spec.loss) == pytest.approx(0.25 + weight * 8)
    built.run(built.spec.train_op)
    assert built.value("weight") == pytest.approx(1 - 0.5 * weight * 8)
    with tf.Graph().as_default():
        built = Built(MODES.EVAL, **how)
        assert built.run(built.spec.loss) == pytest.approx(0.25)


def test_updates_of_the_model_run_with_each_training_step() -> None:
    built = Built(MODES.TRAIN, model=f"{MODELS}:Penalized")
    for _ in range(3):
        built.run(built.spec.train_op)
    assert built.value("counter") == 3


@pytest.mark.parametrize("with_report", [False, True])
def test_steps_are_reported_where_that_is_asked_for(with_report: bool, tmp_path: Path) -> None:
    settings = StepReportSettings(4, str(tmp_path), print) if with_report else None
    model_fn = make_model_fn(options(), examples_per_step=4, step_report=settings)
    spec = model_fn({"image": tf.zeros([4, 8, 8, 3])}, tf.constant(LABELS), MODES.TRAIN)
    assert [type(hook) for hook in spec.training_hooks] == [StepReportHook] * with_report


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"model": "NoPredictions"}, ["create_model returns no predictions", "keys ['logits', 'loss']"]),
        ({"model": "NoDictionary"}, ["create_model returns no predictions", "Tensor"]),
        ({"model": "FlatPredictions"}, ["wrong shape", "[B, 1] or [B, 2]", "shape (4,)"]),
        ({"model": "ThreeColumns"}, ["wrong shape", "--num_classes=2: [B, 1] or [B, 2]", "shape (4, 3)"]),
        ({"model": "HalfABatch"}, ["wrong shape", "for B = 4 pictures", "shape (2, 1)"]),
        ({"model": "OneColumn", "num_classes": 5}, ["wrong shape", "--num_classes=5: [B, 5]", "shape (4, 1)"]),
        ({"label_loss": "VectorLoss"}, ["calculate_loss returns no scalar loss", "shape (4,)", "mean over the batch"]),
        ({"label_loss": "NumberLoss"}, ["calculate_loss returns no scalar loss", "float"]),
    ],
)
@pytest.mark.parametrize("mode", [MODES.TRAIN, MODES.EVAL])
def test_what_does_not_fit_is_told_with_class_and_shape(values: dict[str, object], told: list[str], mode: str) -> None:
    named = {key: f"{MODELS}:{value}" if isinstance(value, str) else value for key, value in values.items()}
    with pytest.raises(UserError) as caught:
        Built(mode, **named)
    message = str(caught.value)
    assert all(part in message for part in told), message
    assert all(value in message for value in named.values() if isinstance(value, str)), message


@pytest.mark.parametrize(
    ("model", "told"),
    [
        ("VectorPenalty", ["returns no scalar regularization_loss", "shape (3,)"]),
        ("LoneUpdate", ["update_ops that are no list", "Operation", '"update_ops": [operation, …]']),
        ("OneColumn", ["has no variable to train", "get_variable"]),
    ],
)
def test_what_training_cannot_use_is_told(model: str, told: list[str]) -> None:
    with pytest.raises(UserError) as caught:
        Built(MODES.TRAIN, model=f"{MODELS}:{model}")
    assert all(part in str(caught.value) for part in told), caught.value


def test_an_unknown_class_is_told_before_a_graph_is_built() -> None:
    with pytest.raises(UserError, match="No model 'Foo'"):
        make_model_fn(options(model="Foo"), examples_per_step=1)


def test_targets_have_the_shape_of_the_predictions() -> None:
    one, three = as_targets(tf.constant([0, 2, 1], tf.int64), 1), as_targets(tf.constant([0, 2, 1], tf.int64), 3)
    with tf.compat.v1.Session() as session:
        assert session.run(one).tolist() == [[0], [2], [1]]
        assert session.run(three).tolist() == [[1, 0, 0], [0, 0, 1], [0, 1, 0]]
    assert one.dtype == three.dtype == tf.float32
