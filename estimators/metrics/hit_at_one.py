"""Hit@1: how often the one class a model would name is right."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from estimators.metrics.checked_arrays import Labels, Predictions, checked_batch


def hit_at_one(predictions: npt.ArrayLike, labels: npt.ArrayLike) -> float:
    """The share of photos whose predicted class is one of the photo's labels.

        Hit@1 = hits / N

    One column: the predicted class is 1 where p > 0.5, else 0, and it is a hit where it equals the label. A tie
    (p = 0.5 exactly) predicts class 0.

    K columns: the predicted class is the column with the highest prediction; in a tie the first of the equals. It is a
    hit where the label of that column is 1. A photo without any label is therefore never a hit, but is counted.

    A class with no positive example needs no special care. For N = 0 the result is 0.0.

    Args:
      predictions: [N, 1] or [N, K].
      labels: 0/1, same shape.

    Raises:
      ValueError: see `checked_batch`.
    """
    scores, truth = checked_batch(predictions, labels)
    return count_hits(scores, truth) / max(len(scores), 1)


def count_hits(predictions: Predictions, labels: Labels) -> int:
    """The number of hits among checked arrays [N, K]; counts of parts add up to the count of the whole."""
    if predictions.shape[1] == 1:
        return int(((predictions > 0.5) == labels).sum())
    chosen = predictions.argmax(axis=1, keepdims=True)
    return int(np.take_along_axis(labels, chosen, axis=1).sum())
