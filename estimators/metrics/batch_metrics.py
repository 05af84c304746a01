"""The metrics of one batch, cheap enough for the step report during training."""

from __future__ import annotations

from typing import NamedTuple

import numpy.typing as npt

from estimators.metrics.average_precision import ranked_precision
from estimators.metrics.checked_arrays import checked_batch
from estimators.metrics.hit_at_one import count_hits
from estimators.metrics.precision_at_equal_recall import count_by_labels, mean_precision


class BatchMetrics(NamedTuple):
    """Shares between 0 and 1."""

    hit_at_one: float
    perr: float
    gap: float


def batch_metrics(predictions: npt.ArrayLike, labels: npt.ArrayLike) -> BatchMetrics:
    """Hit@1, PERR and GAP of one batch: the same numbers as the functions of these names give, checked once.

    Args:
      predictions: [N, 1] or [N, K].
      labels: 0/1, same shape.

    Raises:
      ValueError: see `checked_batch`.
    """
    scores, truth = checked_batch(predictions, labels)
    return BatchMetrics(
        hit_at_one=count_hits(scores, truth) / max(len(scores), 1),
        perr=mean_precision(*count_by_labels(scores, truth)),
        gap=ranked_precision(scores.ravel(), truth.ravel()),
    )
