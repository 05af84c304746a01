"""MAP: the mean over the classes of each class's average precision."""

from __future__ import annotations

import math

import numpy.typing as npt

from estimators.metrics.average_precision import ranked_precision
from estimators.metrics.checked_arrays import Labels, Predictions, checked_batch


def mean_average_precision(predictions: npt.ArrayLike, labels: npt.ArrayLike) -> float:
    """The mean of AP over the classes that have a positive example.

        MAP = mean over classes c with a positive example of AP(predictions[:, c], labels[:, c])

    K columns: a class with no positive example is left out, since its AP is not defined; every other class weighs the
    same, however rare it is. Ties are treated as in `average_precision`.

    One column: there is one class to rank for, class 1, and MAP is its AP.

    If no class has a positive example, and for N = 0, the result is 0.0.

    Args:
      predictions: [N, 1] or [N, K].
      labels: 0/1, same shape.

    Raises:
      ValueError: see `checked_batch`.
    """
    return mean_ranked_precision(*checked_batch(predictions, labels))


def mean_ranked_precision(predictions: Predictions, labels: Labels) -> float:
    """`mean_average_precision` of arrays [N, K] that are checked already."""
    present = labels.any(axis=0).nonzero()[0]
    total = math.fsum(ranked_precision(predictions[:, column], labels[:, column]) for column in present)
    return total / max(len(present), 1)
