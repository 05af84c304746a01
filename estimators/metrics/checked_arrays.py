"""The shapes and values that every metric of this package takes, checked in one place."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Predictions: TypeAlias = npt.NDArray[np.floating[Any]]
Labels: TypeAlias = npt.NDArray[np.bool_]


def checked_batch(predictions: npt.ArrayLike, labels: npt.ArrayLike) -> tuple[Predictions, Labels]:
    """Predictions and labels of N photos as arrays, once they are known to fit each other.

    Args:
      predictions: numbers [N, K], N >= 0, K >= 1; a higher one means a surer "yes". With K = 1 it is the probability
        of class 1 (one sigmoid column).
      labels: 0/1 or bool [N, K]: one-hot or multi-hot; with K = 1 the number of the class.

    Returns:
      Predictions as float32 or float64 [N, K], so that order and ties stay as they were given; labels as bool [N, K].

    Raises:
      ValueError: the shapes are not the same [N, K], a prediction is NaN or no number, or a label is neither 0 nor 1.
    """
    scores, truth = np.asarray(predictions), np.asarray(labels)
    if scores.ndim != 2 or scores.shape[1] == 0:
        raise ValueError(
            f"predictions must have the shape [N, 1] (one sigmoid column) or [N, K] (one column per class), "
            f"not {list(scores.shape)}"
        )
    _require_same_shape(scores, truth)
    return _checked_scores(scores), _checked_labels(truth)


def checked_scores_and_labels(scores: npt.ArrayLike, labels: npt.ArrayLike) -> tuple[Predictions, Labels]:
    """The same for two arrays of any one shape, flattened: scores as float [M], labels as bool [M].

    Raises:
      ValueError: as `checked_batch`.
    """
    flat, truth = np.asarray(scores), np.asarray(labels)
    _require_same_shape(flat, truth)
    return _checked_scores(flat.ravel()), _checked_labels(truth.ravel())


def _require_same_shape(scores: npt.NDArray[Any], labels: npt.NDArray[Any]) -> None:
    if scores.shape != labels.shape:
        hint = ""
        if scores.ndim == labels.ndim == 2 and labels.shape[1] == 1:
            hint = "; give class numbers as one-hot rows when there is one column per class"
        raise ValueError(
            f"labels must have the shape of the predictions, {list(scores.shape)}, not {list(labels.shape)}{hint}"
        )


def _checked_scores(scores: npt.NDArray[Any]) -> Predictions:
    if scores.dtype.kind not in "fiub":
        raise ValueError(f"predictions must be numbers, not of type {scores.dtype}")
    floats: Predictions = scores.astype(np.float32 if scores.dtype in (np.float16, np.float32) else np.float64)
    not_numbers = int(np.isnan(floats).sum())
    if not_numbers:
        raise ValueError(f"{not_numbers} of {floats.size} predictions are NaN: they cannot be ranked")
    return floats


def _checked_labels(labels: npt.NDArray[Any]) -> Labels:
    if labels.dtype == np.bool_:
        return labels.copy()
    if labels.dtype.kind not in "fiu":
        raise ValueError(f"labels must be 0, 1 or bool, not of type {labels.dtype}")
    truth: Labels = labels == 1
    strange = labels[~truth & (labels != 0)]
    if strange.size:
        raise ValueError(f"labels must be 0 or 1; {strange.size} of {labels.size} are not, the first is {strange[0]}")
    return truth
