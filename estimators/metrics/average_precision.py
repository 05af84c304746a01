"""AP: average precision of one ranking, exact and independent of the order in which examples come."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from estimators.metrics.checked_arrays import Labels, Predictions, checked_scores_and_labels


def average_precision(scores: npt.ArrayLike, labels: npt.ArrayLike) -> float:
    """The area under the precision-recall curve as a sum of steps, without interpolation.

        AP = sum over thresholds t of (R(t) - R(next higher t)) * P(t)

    R(t) is the share of all positives that score at least t, P(t) the share of positives among all that do. The
    thresholds are the distinct scores, so that examples with equal scores (a tie) enter together and their order does
    not matter. This is the definition of scikit-learn's `average_precision_score`.

    Without a positive example recall is not defined; the result is 0.0, as in scikit-learn (which also warns). The
    same holds for M = 0.

    One column: the scores of class 1 of all photos, [N] or [N, 1]. K columns: arrays [N, K] are taken as one ranking
    of N * K pairs; for one class give its column.

    Args:
      scores: M numbers of any shape, not NaN; the higher the surer. Only their order matters.
      labels: 0/1, same shape.

    Raises:
      ValueError: the shapes differ, a score is NaN, or a label is neither 0 nor 1.
    """
    return ranked_precision(*checked_scores_and_labels(scores, labels))


def ranked_precision(scores: Predictions, labels: Labels) -> float:
    """`average_precision` of arrays [M] that are checked already.

    All that is summed follows from whole-number counts per threshold, and `fsum` rounds once: any order of the same
    examples gives the same bits.
    """
    positives = int(np.count_nonzero(labels))
    if not positives:
        return 0.0
    # Recall grows only at scores that a positive has, so these are the only thresholds to look at.
    thresholds, gained = np.unique(scores[labels], return_counts=True)
    positives_at_least = gained[::-1].cumsum()[::-1]
    all_at_least = scores.size - np.searchsorted(np.sort(scores), thresholds, side="left")
    return math.fsum((gained * (positives_at_least / all_at_least)).tolist()) / positives
