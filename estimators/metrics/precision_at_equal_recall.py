"""PERR: precision at equal recall rate, as YouTube-8M defined it (https://arxiv.org/abs/1609.08675, section 5.2)."""

from __future__ import annotations

import math
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from estimators.metrics.checked_arrays import Labels, Predictions, checked_batch

Counts: TypeAlias = npt.NDArray[np.integer[Any]]


def precision_at_equal_recall(predictions: npt.ArrayLike, labels: npt.ArrayLike) -> float:
    """Precision among the top n predictions of a photo that has n labels, averaged over the photos.

        PERR = mean over photos with n > 0 labels of (labels among the n highest predictions) / n

    Photos without a label are left out. Among equal predictions the column that stands first is ranked higher.

    One column: the photo is read as two columns, predictions [1 - p, p] and labels [1 - y, y]. Each photo then has
    one label, and PERR is the same number as Hit@1, ties included (p = 0.5 predicts class 0).

    A class with no positive example takes places among the top n like any other. If no photo has a label, and for
    N = 0, the result is 0.0. Unlike in YouTube-8M's own code, predictions of 0 and below are ranked like all others,
    so that models which return scores rather than probabilities are measured rightly.

    Args:
      predictions: [N, 1] or [N, K].
      labels: 0/1, same shape.

    Raises:
      ValueError: see `checked_batch`.
    """
    return mean_precision(*count_by_labels(*checked_batch(predictions, labels)))


def count_by_labels(predictions: Predictions, labels: Labels) -> tuple[Counts, Counts]:
    """Photos, and right predictions among their top n, for each number n of labels that a photo can have.

    Whole numbers, so that counts of parts add up to the counts of the whole, whatever the order.

    Args:
      predictions: checked, [N, 1] or [N, K].
      labels: checked, same shape.

    Returns:
      Two arrays of the length K + 1 (3 for one column), indexed by n.
    """
    if predictions.shape[1] == 1:
        predictions, labels = np.hstack([1 - predictions, predictions]), np.hstack([~labels, labels])
    columns = predictions.shape[1]
    order = np.argsort(-predictions, axis=1, kind="stable")  # stable: the first of equals ranks higher
    label_counts = labels.sum(axis=1)
    in_top = np.arange(columns) < label_counts[:, np.newaxis]
    hits = (np.take_along_axis(labels, order, axis=1) & in_top).sum(axis=1)
    photos_by_count = np.bincount(label_counts, minlength=columns + 1)
    hits_by_count = np.zeros_like(photos_by_count)
    np.add.at(hits_by_count, label_counts, hits)
    return photos_by_count, hits_by_count


def mean_precision(photos_by_count: Counts, hits_by_count: Counts) -> float:
    """PERR from the counts of `count_by_labels`; 0.0 where no photo has a label."""
    photos = int(photos_by_count[1:].sum())
    precisions = hits_by_count[1:] / np.arange(1, len(hits_by_count))
    return math.fsum(precisions.tolist()) / max(photos, 1)
