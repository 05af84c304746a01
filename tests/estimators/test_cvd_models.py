from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from estimators.class_lookup import built_in_names, load_class
from estimators.cvd_models import prediction_columns
from estimators.errors import UserError

pytestmark = pytest.mark.filterwarnings(r"ignore:`tf\.layers\.")


@pytest.mark.parametrize("name", built_in_names("model"))
@pytest.mark.parametrize(("num_classes", "columns"), [(2, 1), (5, 5)])
@pytest.mark.parametrize("side", [16, 33])
def test_a_model_gives_a_probability_a_column_for_any_picture_size(
    name: str, num_classes: int, columns: int, side: int
) -> None:
    with tf.Graph().as_default():
        pictures = tf.compat.v1.placeholder(tf.float32, [None, side, side, 3])
        output = load_class("model", name)().create_model(pictures, num_classes=num_classes, is_training=True, more=1)
        assert output["predictions"].shape.as_list() == [None, columns]
        with tf.compat.v1.Session() as session:
            session.run(tf.compat.v1.global_variables_initializer())
            values = session.run(
                output["predictions"], {pictures: np.random.default_rng(0).normal(size=(4, side, side, 3))}
            )
    assert values.dtype == np.float32 and ((values > 0) & (values < 1)).all()
    assert len(np.unique(values)) > 1, "it depends on the picture"


def test_two_classes_are_told_apart_by_one_column() -> None:
    assert [prediction_columns(classes) for classes in (2, 3, 10)] == [1, 3, 10]


def test_the_logistic_model_pays_for_large_weights() -> None:
    with tf.Graph().as_default():
        pictures = tf.zeros([1, 8, 8, 3])
        output = load_class("model", "LogisticModel")().create_model(pictures)
        (weights,) = [v for v in tf.compat.v1.trainable_variables() if "weights" in v.name]
        with tf.compat.v1.Session() as session:
            session.run(tf.compat.v1.global_variables_initializer())
            session.run(weights.assign(tf.fill(weights.shape, 2.0)))
            # l2_loss is half the sum of squares.
            assert session.run(output["regularization_loss"]) == pytest.approx(1e-8 * 8 * 8 * 3 * 4 / 2)
            assert session.run(output["predictions"]) == [[0.5]]


@pytest.mark.parametrize(
    ("model", "side", "params", "told"),
    [
        ("ResNetModel", 12, {}, "--image_size=12"),
        ("ResNetModel", 16, {"dropout": 1.0}, "dropout=1.0"),
        ("ResNetModel", 16, {"dropout": "much"}, "dropout=much"),
        ("MoeModel", 8, {"num_mixtures": 0}, "num_mixtures=0"),
        ("MoeModel", 8, {"num_mixtures": 2.0}, "num_mixtures=2.0"),
        ("MoeModel", 8, {"num_mixtures": "many"}, "num_mixtures=many"),
    ],
)
def test_what_a_model_cannot_be_built_with_is_told_with_its_flag(
    model: str, side: int, params: dict[str, Any], told: str
) -> None:
    with tf.Graph().as_default(), pytest.raises(UserError) as caught:
        load_class("model", model)().create_model(tf.zeros([1, side, side, 3]), **params)
    assert told in caught.value.asked


@pytest.mark.parametrize(("num_classes", "columns"), [(2, 1), (3, 3)])
def test_the_mixture_is_that_of_its_formula(num_classes: int, columns: int) -> None:
    mixtures, random = 3, np.random.default_rng(0)
    pictures = random.normal(size=(5, 8, 8, 3)).astype(np.float32)
    with tf.Graph().as_default():
        output = load_class("model", "MoeModel")().create_model(
            tf.constant(pictures), num_classes=num_classes, num_mixtures=mixtures
        )
        variables = {v.op.name: v for v in tf.compat.v1.trainable_variables()}
        values = {name: random.normal(size=v.shape).astype(np.float32) for name, v in variables.items()}
        with tf.compat.v1.Session() as session:
            session.run([v.assign(values[name]) for name, v in variables.items()])
            predictions, penalty = session.run([output["predictions"], output["regularization_loss"]])
    flat = pictures.reshape(5, -1).astype(np.float64)

    def linear(name: str) -> Any:
        return (flat @ values[f"{name}_weights"] + values[f"{name}_biases"]).reshape(5, columns, -1)

    gates = np.exp(linear("gates") - linear("gates").max(axis=2, keepdims=True))
    gates /= gates.sum(axis=2, keepdims=True)
    assert gates.shape[2] == mixtures + 1
    expected = (gates[:, :, :mixtures] / (1 + np.exp(-linear("experts")))).sum(axis=2)
    assert predictions == pytest.approx(expected, abs=1e-5)
    squares = sum((values[f"{name}_weights"].astype(np.float64) ** 2).sum() for name in ("gates", "experts"))
    assert penalty == pytest.approx(1e-8 * squares / 2, rel=1e-5)
