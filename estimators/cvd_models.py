"""The models that come with the project, and the place for yours."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from estimators.models import BaseModel

_L2_PENALTY = 1e-8  # as in the 2017 starter code


class LogisticModel(BaseModel):
    """Logistic regression on the pixels."""

    def create_model(
        self, model_input: Any, num_classes: int = 2, is_training: bool = True, **params: Any
    ) -> dict[str, Any]:
        """sigmoid(W x + b) on the flattened picture, with an L2 penalty on W.

        Args:
          model_input: float32 [B, H, W, 3] in [-1, 1].
          num_classes: 2 gives one column, K > 2 gives K independent columns.
          is_training: makes no difference here.
          **params: ignored.

        Returns:
          predictions: float32 [B, 1] or [B, K] in (0, 1); regularization_loss: scalar.
        """
        pixels = tf.compat.v1.layers.flatten(model_input)
        columns = prediction_columns(num_classes)
        weights = tf.compat.v1.get_variable("weights", [pixels.shape[-1], columns])
        biases = tf.compat.v1.get_variable("biases", [columns], initializer=tf.compat.v1.zeros_initializer())
        return {
            "predictions": tf.sigmoid(tf.matmul(pixels, weights) + biases),
            "regularization_loss": _L2_PENALTY * tf.nn.l2_loss(weights),
        }


class CnnModel(BaseModel):
    """A small convolutional network: three times convolution, ReLU and pooling, then a dense layer."""

    def create_model(
        self, model_input: Any, num_classes: int = 2, is_training: bool = True, **params: Any
    ) -> dict[str, Any]:
        """Three 3x3 convolutions (16, 32, 64 filters), each max-pooled by 2; one dense layer; sigmoid.

        No hidden dense layer: at the default learning rate of 0.01 it drives the sigmoid to 0 or 1 in the first steps,
        where the loss has no gradient.

        Args:
          model_input: float32 [B, H, W, 3] in [-1, 1].
          num_classes: 2 gives one column, K > 2 gives K independent columns.
          is_training: makes no difference here.
          **params: ignored.

        Returns:
          predictions: float32 [B, 1] or [B, K] in (0, 1).
        """
        net = model_input
        for filters in (16, 32, 64):
            net = tf.compat.v1.layers.conv2d(net, filters, 3, padding="same", activation=tf.nn.relu)
            net = tf.compat.v1.layers.max_pooling2d(net, 2, 2)
        logits = tf.compat.v1.layers.dense(tf.compat.v1.layers.flatten(net), prediction_columns(num_classes))
        return {"predictions": tf.sigmoid(logits)}


def prediction_columns(num_classes: int) -> int:
    """One sigmoid column tells two classes apart; more classes take a column each."""
    return 1 if num_classes == 2 else num_classes
