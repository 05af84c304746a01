"""GAP: average precision of all (photo, class) pairs in one ranking."""

from __future__ import annotations

import numpy.typing as npt

from estimators.metrics.average_precision import ranked_precision
from estimators.metrics.checked_arrays import checked_batch


def global_average_precision(predictions: npt.ArrayLike, labels: npt.ArrayLike) -> float:
    """AP over all N * K (photo, class) pairs at once, so that scores must be comparable between photos and classes.

        GAP = AP of the N * K pairs (predictions[i, c], labels[i, c])

    K columns: all pairs count; YouTube-8M kept only the 20 highest of a photo. Ties are treated as in
    `average_precision`. A class with no positive example stays in: its pairs are negatives that can only rank too high.

    One column: the pairs are (p, y) of class 1, and GAP is the AP of class 1, the same number as MAP: the column
    1 - p is not added.

    Without any positive pair, and for N = 0, the result is 0.0.

    Args:
      predictions: [N, 1] or [N, K].
      labels: 0/1, same shape.

    Raises:
      ValueError: see `checked_batch`.
    """
    scores, truth = checked_batch(predictions, labels)
    return ranked_precision(scores.ravel(), truth.ravel())
