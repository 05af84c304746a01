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
    """Inherit from this class and compare predictions with labels in `calculate_loss`."""

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
