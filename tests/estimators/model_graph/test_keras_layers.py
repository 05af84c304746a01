"""What Keras layers ask for beside their output, in the graph of an Estimator."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from estimators.errors import UserError
from estimators.model_graph.keras_layers import penalties_of, recorded_layers, updates_of

L2 = tf.keras.regularizers.L2(0.5)


@pytest.fixture(autouse=True)
def graph() -> Iterator[None]:
    with tf.Graph().as_default():
        yield


def picture() -> Any:
    return tf.constant(np.linspace(-1, 1, 24, dtype=np.float32).reshape(4, 6))


def dense() -> Any:
    return tf.keras.layers.Dense(3, kernel_initializer="ones", kernel_regularizer=L2)


def values(tensors: list[Any]) -> list[Any]:
    with tf.compat.v1.Session() as session:
        session.run(tf.compat.v1.global_variables_initializer())
        result: list[Any] = session.run(tensors)
        return result


def test_penalties_of_layers_called_one_by_one_are_found() -> None:
    with recorded_layers(is_training=True) as layers:
        dense()(dense()(picture()))
    assert values(penalties_of(layers)) == [0.5 * 18, 0.5 * 9]


def test_a_graph_of_the_authors_own_is_none_of_the_models() -> None:
    begun = [np.full((6, 3), 2.0, np.float32), np.zeros(3, np.float32)]
    with recorded_layers(is_training=True) as layers:
        with tf.Graph().as_default(), tf.compat.v1.Session():
            other = tf.keras.Sequential([tf.keras.Input([6]), dense()])
            other.set_weights(begun)
            read = other.get_weights()
        constant = tf.keras.initializers.Constant(read[0])
        tf.keras.layers.Dense(3, kernel_initializer=constant, kernel_regularizer=tf.keras.regularizers.L2(0.5))(
            picture()
        )
    assert values(penalties_of(layers)) == [0.5 * 4 * 18]


@pytest.mark.parametrize("way", ["weights", "set_weights", "application", "load_weights"])
def test_values_that_keras_would_lose_are_refused(way: str) -> None:
    begun = [np.full((6, 3), 2.0, np.float32), np.zeros(3, np.float32)]

    def build() -> None:
        layer = tf.keras.layers.Dense(3, **({"weights": begun} if way == "weights" else {}))
        layer(picture())
        if way == "set_weights":
            layer.set_weights(begun)
        elif way == "application":
            whole = tf.keras.Sequential([tf.keras.Input([6]), tf.keras.layers.Dense(3)])
            whole.set_weights(begun)
        elif way == "load_weights":
            tf.keras.Sequential([tf.keras.Input([6]), layer]).load_weights("kernel.weights.h5")

    with pytest.raises(UserError, match="would be lost") as caught, recorded_layers(is_training=True):
        build()
    assert "kernel" in caught.value.asked and "--warm_start_from" in caught.value.change


def test_a_layer_that_is_called_twice_is_penalised_once() -> None:
    with recorded_layers(is_training=True) as layers:
        shared = dense()
        _ = shared(picture()) + shared(2 * picture())
    assert values(penalties_of(layers)) == [9]


def test_a_model_answers_for_the_layers_in_it() -> None:
    with recorded_layers(is_training=True) as layers:
        tf.keras.Sequential([dense(), tf.keras.Sequential([dense()])])(picture())
    assert values(penalties_of(layers)) == [9, 4.5]


def test_building_a_functional_model_leaves_nothing_that_wants_a_placeholder() -> None:
    with recorded_layers(is_training=True) as layers:
        begin = tf.keras.Input([6])
        activity = tf.keras.layers.ActivityRegularization(l2=1.0)
        net = tf.keras.layers.BatchNormalization()(activity(dense()(begin)))
        tf.keras.Model(begin, net)(picture())
    penalties, updates = values([penalties_of(layers), updates_of(layers)])
    assert len(penalties) == 2 and 9 in penalties, "of weights and of the activations of the picture"
    assert len(updates) == 2


def test_layers_of_tensorflow_1_stay_with_the_collection() -> None:
    with recorded_layers(is_training=True) as layers:
        net = tf.compat.v1.layers.dense(picture(), 3, kernel_regularizer=L2)
        tf.compat.v1.layers.batch_normalization(net, training=True)
    assert layers == [] and len(tf.compat.v1.losses.get_regularization_losses()) == 1


def test_what_is_called_outside_is_not_recorded() -> None:
    with recorded_layers(is_training=True) as layers:
        pass
    dense()(picture())
    assert layers == []


@pytest.mark.parametrize(
    ("is_training", "said", "drops"), [(True, None, True), (False, None, False), (True, False, False)]
)
def test_a_layer_trains_in_training_unless_it_is_told_otherwise(
    is_training: bool, said: bool | None, drops: bool
) -> None:
    with recorded_layers(is_training=is_training):
        ones = tf.ones([1, 1000])
        kept = tf.keras.layers.Dropout(0.5)(ones) if said is None else tf.keras.layers.Dropout(0.5)(ones, training=said)
    (found,) = values([kept])
    assert (found == 0).any() == drops


def test_layers_are_named_in_the_order_they_are_made() -> None:
    with recorded_layers(is_training=True):
        net = dense()(picture())
        dense()(net)
    assert [variable.op.name for variable in tf.compat.v1.trainable_variables()] == [
        "dense/kernel",
        "dense/bias",
        "dense_1/kernel",
        "dense_1/bias",
    ]
