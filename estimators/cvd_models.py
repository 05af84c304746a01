"""The models that come with the project, and the place for yours."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from estimators.errors import UserError
from estimators.models import BaseModel

_L2_PENALTY = 1e-8  # as in the 2017 starter code
_SMALLEST_PICTURE = 16


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
    """A small convolutional network: three times convolution, leaky ReLU and pooling, then dense."""

    def create_model(
        self, model_input: Any, num_classes: int = 2, is_training: bool = True, **params: Any
    ) -> dict[str, Any]:
        """Three 3x3 convolutions (16, 32, 64 filters), each max-pooled by 2; one dense layer; sigmoid.

        With an L2 penalty on the kernels, which their layers put into the graph's collection.

        Made for the default learning rate of 0.01, which is large for Adam. A hidden dense layer would drive the
        sigmoid to 0 or 1 in the first steps, where the loss has no gradient; and plain ReLUs can all die, which leaves
        the loss at log 2 for good. Leaky ones did not in any of five seeds on photos.

        Args:
          model_input: float32 [B, H, W, 3] in [-1, 1].
          num_classes: 2 gives one column, K > 2 gives K independent columns.
          is_training: makes no difference here.
          **params: ignored.

        Returns:
          predictions: float32 [B, 1] or [B, K] in (0, 1).
        """
        layers = tf.compat.v1.layers
        penalty = tf.keras.regularizers.L2(_L2_PENALTY / 2)  # of sum(w^2), where l2_loss is half of that
        net = model_input
        for filters in (16, 32, 64):
            net = layers.conv2d(
                net, filters, 3, padding="same", activation=tf.nn.leaky_relu, kernel_regularizer=penalty
            )
            net = layers.max_pooling2d(net, 2, 2)
        logits = layers.dense(layers.flatten(net), prediction_columns(num_classes), kernel_regularizer=penalty)
        return {"predictions": tf.sigmoid(logits)}


class MoeModel(BaseModel):
    """A mixture of logistic experts for each column, as in the 2017 starter code (there it could not be started)."""

    def create_model(
        self,
        model_input: Any,
        num_classes: int = 2,
        is_training: bool = True,
        num_mixtures: int = 2,
        **params: Any,
    ) -> dict[str, Any]:
        """sum over the experts e of gate_e(x) sigmoid(w_e x + b_e), for each column, on the flattened picture.

        The gate is a softmax over num_mixtures + 1: the last one stands for an expert that always predicts 0.

        Args:
          model_input: float32 [B, H, W, 3] in [-1, 1].
          num_classes: 2 gives one column, K > 2 gives K independent columns.
          is_training: makes no difference here.
          num_mixtures: experts of each column, beside the one that predicts 0.
          **params: ignored.

        Returns:
          predictions: float32 [B, 1] or [B, K] in (0, 1); regularization_loss: scalar.
        """
        if not isinstance(num_mixtures, int) or num_mixtures < 1:
            raise UserError(
                "A mixture has one expert at least",
                asked=f"--model_params=num_mixtures={num_mixtures}",
                change="num_mixtures to a whole number from 1 on",
            )
        pixels = tf.compat.v1.layers.flatten(model_input)
        columns = prediction_columns(num_classes)

        def linear(name: str, outputs: int) -> tuple[Any, Any]:
            weights = tf.compat.v1.get_variable(f"{name}_weights", [pixels.shape[-1], columns * outputs])
            zeros = tf.compat.v1.zeros_initializer()
            biases = tf.compat.v1.get_variable(f"{name}_biases", [columns * outputs], initializer=zeros)
            result = tf.reshape(tf.matmul(pixels, weights) + biases, [-1, columns, outputs])
            return result, tf.nn.l2_loss(weights)

        gates, gates_penalty = linear("gates", num_mixtures + 1)
        experts, experts_penalty = linear("experts", num_mixtures)
        predictions = tf.reduce_sum(tf.nn.softmax(gates)[:, :, :num_mixtures] * tf.sigmoid(experts), axis=2)
        return {"predictions": predictions, "regularization_loss": _L2_PENALTY * (gates_penalty + experts_penalty)}


class ResNetModel(BaseModel):
    """A small residual network with batch normalisation and dropout; the one to begin with on photos."""

    def create_model(
        self,
        model_input: Any,
        num_classes: int = 2,
        is_training: bool = True,
        dropout: float = 0.5,
        **params: Any,
    ) -> dict[str, Any]:
        """Four stages (24, 48, 96, 128 filters), each halving height and width; mean; dropout; sigmoid.

        A stage is y = max_pool(relu(norm(conv3x3(x)))); the last two go on with y + relu(norm(conv3x3(y))).

        Args:
          model_input: float32 [B, H, W, 3] in [-1, 1]; H and W at least 16.
          num_classes: 2 gives one column, K > 2 gives K independent columns.
          is_training: batch normalisation by the batch, and dropout, in training only.
          dropout: share of the features that is left out in training.
          **params: ignored.

        Returns:
          predictions: float32 [B, 1] or [B, K] in (0, 1).
        """
        side = min(model_input.shape.as_list()[1:3])
        if side < _SMALLEST_PICTURE:
            raise UserError(
                f"ResNetModel halves a picture four times, and needs {_SMALLEST_PICTURE} pixels for that",
                asked=f"--image_size={side}",
                change=f"--image_size to {_SMALLEST_PICTURE} or more",
            )
        if not isinstance(dropout, int | float) or not 0 <= dropout < 1:
            raise UserError(
                "Dropout is the share of the features that is left out",
                asked=f"--model_params=dropout={dropout}",
                change="dropout to a number from 0 on and below 1",
            )
        layers = tf.compat.v1.layers

        def convolved(net: Any, filters: int) -> Any:
            net = layers.conv2d(net, filters, 3, padding="same", use_bias=False)
            # The default momentum of 0.99 needs hundreds of steps to forget the initial moments.
            return tf.nn.relu(layers.batch_normalization(net, training=is_training, momentum=0.9))

        net = model_input
        for filters in (24, 48, 96, 128):
            net = layers.max_pooling2d(convolved(net, filters), 2, 2)
            if filters > 48:  # earlier ones are large, and cost the most
                net = net + convolved(net, filters)
        features = layers.dropout(tf.reduce_mean(net, axis=[1, 2]), rate=dropout, training=is_training)
        return {"predictions": tf.sigmoid(layers.dense(features, prediction_columns(num_classes)))}


def prediction_columns(num_classes: int) -> int:
    """One sigmoid column tells two classes apart; more classes take a column each."""
    return 1 if num_classes == 2 else num_classes
