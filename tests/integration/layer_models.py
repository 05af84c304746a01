"""One model of every kind of layers, whose weights change by nothing but their penalty.

The loss is 0 for any weights, so that gradient descent with rate r turns a penalised weight w into w (1 - r) in each
step: a penalty that is lost, halved or doubled shows in its value. Two hidden layers of each kind, since a second one
shows whether replicas agree on names; rectified, since a linear one behind a normalisation has a mean of 0.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from estimators import BaseModel


def _half_square(weights: Any) -> Any:
    return tf.nn.l2_loss(weights)  # its gradient is the weights


def _v1_layers(net: Any, is_training: bool) -> Any:
    layers = tf.compat.v1.layers
    net = layers.flatten(net)
    for _ in range(2):
        net = layers.dense(net, 4, kernel_regularizer=_half_square)
        net = tf.nn.relu(layers.batch_normalization(net, training=is_training, momentum=0.5))
    return net


def _keras_layers() -> list[Any]:
    layers = tf.keras.layers
    made = [layers.Flatten()]
    for _ in range(2):
        made.append(layers.Dense(4, kernel_regularizer=_half_square))
        made += [layers.BatchNormalization(momentum=0.5), layers.ReLU()]
    return made


def _called(layers: list[Any], net: Any) -> Any:
    """One by one, without saying whether they train."""
    for layer in layers:
        net = layer(net)
    return net


def _keras_functional(model_input: Any) -> Any:
    picture = tf.keras.Input(model_input.shape[1:])
    return tf.keras.Model(picture, _called(_keras_layers(), picture))(model_input)


def _slim(net: Any, is_training: bool) -> Any:
    """What 2017's models used."""
    import tf_slim as slim

    how = {
        "activation_fn": None,
        "weights_regularizer": _half_square,
        "normalizer_fn": slim.batch_norm,
        "normalizer_params": {"is_training": is_training, "decay": 0.5},
    }
    # Of pictures and of flat features batch_norm makes two different layers.
    net = slim.flatten(tf.nn.relu(slim.conv2d(net, 4, 3, **how)))
    for _ in range(2):
        net = tf.nn.relu(slim.fully_connected(net, 4, **how))
    return net


def _own(model_input: Any, units: int) -> tuple[Any, Any, list[Any]]:
    """Weights and moving averages of the model's own: its output, its penalty, its updates."""
    v1 = tf.compat.v1
    net, penalty, updates = v1.layers.flatten(model_input), 0.0, []
    for name in ("first", "second"):
        with v1.variable_scope(name):
            weights = v1.get_variable("weights", [net.shape[-1], units])
            net = tf.matmul(net, weights)
            for moment, value in zip(("mean", "variance"), tf.nn.moments(net, [0]), strict=True):
                average = v1.get_variable(
                    f"moving_{moment}",
                    [units],
                    initializer=v1.zeros_initializer(),
                    trainable=False,
                    aggregation=tf.VariableAggregation.MEAN,
                )
                updates.append(average.assign(0.5 * average + 0.5 * value))
        penalty += _half_square(weights)
    return net, penalty, updates


class EveryKindOfLayers(BaseModel):
    """All kinds side by side; `units` of the own kind is a parameter."""

    def __init__(self) -> None:
        self._layers = _keras_layers()

    def create_model(
        self, model_input: Any, num_classes: int = 2, is_training: bool = True, units: int = 4, **params: Any
    ) -> dict[str, Any]:
        with tf.compat.v1.variable_scope("v1"):
            nets = [_v1_layers(model_input, is_training)]
        nets += [_called(self._layers, model_input), _keras_functional(model_input)]
        with tf.compat.v1.variable_scope("slim"):
            nets.append(_slim(model_input, is_training))
        with tf.compat.v1.variable_scope("own"):
            net, penalty, updates = _own(model_input, units)
        predictions = tf.sigmoid(tf.reduce_mean(tf.concat([*nets, net], axis=1), axis=1, keepdims=True))
        # To build it TensorFlow looks at its devices, which no strategy may divide from then on.
        predictions = tf.cond(tf.reduce_max(predictions) > 1, lambda: predictions - 1, lambda: tf.identity(predictions))
        return {
            "predictions": predictions,
            "loss": 0.0 * tf.reduce_mean(predictions),
            "regularization_loss": penalty,
            "update_ops": updates,
        }
