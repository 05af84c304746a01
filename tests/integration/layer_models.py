"""Models of one kind of layers each, whose weights change by nothing but their penalty.

The loss is 0 for any weights, so that gradient descent with rate r turns a penalised weight w into w (1 - r) in each
step: a penalty that is lost, halved or doubled shows in its value. Two hidden layers, since a second one shows whether
replicas agree on names.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from estimators import BaseModel


def _half_square(weights: Any) -> Any:
    return tf.nn.l2_loss(weights)  # its gradient is the weights


def _output(net: Any) -> dict[str, Any]:
    predictions = tf.sigmoid(tf.reduce_mean(net, axis=1, keepdims=True))
    return {"predictions": predictions, "loss": 0.0 * tf.reduce_mean(predictions)}


class V1LayersModel(BaseModel):
    """tf.compat.v1.layers."""

    def create_model(self, model_input: Any, num_classes: int = 2, is_training: bool = True, **params: Any) -> Any:
        layers = tf.compat.v1.layers
        net = layers.flatten(model_input)
        for _ in range(2):
            net = layers.dense(net, 4, kernel_regularizer=_half_square)
            net = layers.batch_normalization(net, training=is_training, momentum=0.5)
        return _output(net)


class KerasLayersModel(BaseModel):
    """tf.keras.layers, called one by one, without saying whether they train."""

    def create_model(self, model_input: Any, num_classes: int = 2, is_training: bool = True, **params: Any) -> Any:
        layers = tf.keras.layers
        net = layers.Flatten()(model_input)
        for _ in range(2):
            net = layers.Dense(4, kernel_regularizer=_half_square)(net)
            net = layers.BatchNormalization(momentum=0.5)(net)
        return _output(net)


class KerasFunctionalModel(BaseModel):
    """A functional Keras model."""

    def create_model(self, model_input: Any, num_classes: int = 2, is_training: bool = True, **params: Any) -> Any:
        layers = tf.keras.layers
        picture = net = tf.keras.Input(model_input.shape[1:])
        net = layers.Flatten()(net)
        for _ in range(2):
            net = layers.Dense(4, kernel_regularizer=_half_square)(net)
            net = layers.BatchNormalization(momentum=0.5)(net)
        return _output(tf.keras.Model(picture, net)(model_input))


class SlimModel(BaseModel):
    """tf_slim, which 2017's models used."""

    def create_model(self, model_input: Any, num_classes: int = 2, is_training: bool = True, **params: Any) -> Any:
        import tf_slim as slim

        net = slim.flatten(model_input)
        for _ in range(2):
            net = slim.fully_connected(
                net,
                4,
                activation_fn=None,
                weights_regularizer=_half_square,
                normalizer_fn=slim.batch_norm,
                normalizer_params={"is_training": is_training, "decay": 0.5},
            )
        return _output(net)
