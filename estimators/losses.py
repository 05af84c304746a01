"""The contract of a loss, and the losses that come with the project.

Example:

    import tensorflow as tf
    from estimators import BaseLoss

    class SquaredLoss(BaseLoss):
        def calculate_loss(self, predictions, labels, **params):
            return tf.reduce_mean(tf.reduce_sum(tf.square(labels - predictions), axis=1))
"""

from __future__ import annotations

import abc
from typing import Any

import tensorflow as tf


class BaseLoss(abc.ABC):
    """Inherit from this class and compare predictions with labels in `calculate_loss`.

    Attributes:
      needs_probabilities: True if predictions outside [0, 1] make no sense to this loss.
      min_columns: the fewest columns of predictions that it can compare; 2 refuses a single sigmoid column.
    """

    needs_probabilities = False
    min_columns = 1

    @abc.abstractmethod
    def calculate_loss(self, predictions: Any, labels: Any, **params: Any) -> Any:
        """The loss of one batch.

        Args:
          predictions: float32 [B, 1] or [B, K], what the model returned.
          labels: float32 of the same shape: 0 or 1 for one column, one-hot for K columns.
          **params: room for later; accept and ignore what you do not know.

        Returns:
          A float32 scalar, the mean over the batch: a sum would make the learning rate depend on the batch size.
        """


class CrossEntropyLoss(BaseLoss):
    """Cross entropy of each column's probability, as the 2017 starter code computed it."""

    needs_probabilities = True

    def calculate_loss(self, predictions: Any, labels: Any, **params: Any) -> Any:
        """Sum over the columns of -y log(p + e) - (1 - y) log(1 - p + e) with e = 1e-5; mean over the batch.

        Args:
          predictions: float32 [B, C], probabilities in [0, 1].
          labels: float32 [B, C], 0 or 1.
          **params: ignored.

        Returns:
          A float32 scalar.
        """
        epsilon = 1e-5  # keeps the logarithm finite at p = 0 and p = 1
        likelihood = labels * tf.math.log(predictions + epsilon)
        likelihood += (1 - labels) * tf.math.log(1 - predictions + epsilon)
        return tf.reduce_mean(tf.reduce_sum(-likelihood, axis=1))


class HingeLoss(BaseLoss):
    """The hinge loss of each column, as the 2017 starter code computed it."""

    def calculate_loss(self, predictions: Any, labels: Any, b: float = 1.0, **params: Any) -> Any:
        """Sum over the columns of max(0, b - (2 y - 1) p); mean over the batch.

        Args:
          predictions: float32 [B, C], any range. Of a probability p a negative example costs b + p, at least b: it is
            pushed to 0 no further than that.
          labels: float32 [B, C], 0 or 1.
          b: the margin.
          **params: ignored.

        Returns:
          A float32 scalar.
        """
        signs = 2 * labels - 1
        return tf.reduce_mean(tf.reduce_sum(tf.nn.relu(b - signs * predictions), axis=1))


class SoftmaxLoss(BaseLoss):
    """Cross entropy of the softmax over all columns, as the 2017 starter code computed it."""

    min_columns = 2

    def calculate_loss(self, predictions: Any, labels: Any, **params: Any) -> Any:
        """-sum over the columns of y / max(sum y, 1e-7) * log softmax(p); mean over the batch.

        Args:
          predictions: float32 [B, K] with K >= 2, any range: scores, of which the softmax is taken here. One column
            has nothing to be compared with: its softmax is 1, whatever the model says.
          labels: float32 [B, K], one-hot or several of them 1.
          **params: ignored.

        Returns:
          A float32 scalar. Stable for large scores, since the logarithm is taken of the softmax as a whole.
        """
        shares = labels / tf.maximum(tf.reduce_sum(labels, axis=1, keepdims=True), 1e-7)
        return tf.reduce_mean(-tf.reduce_sum(shares * tf.nn.log_softmax(predictions), axis=1))
