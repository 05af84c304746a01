from __future__ import annotations

import numpy as np
import pytest

from estimators.metrics import (
    EvaluationMetrics,
    average_precision,
    batch_metrics,
    global_average_precision,
    hit_at_one,
    mean_average_precision,
    precision_at_equal_recall,
)
from estimators.metrics.checked_arrays import checked_batch

BY_BATCH = [
    batch_metrics,
    global_average_precision,
    hit_at_one,
    mean_average_precision,
    precision_at_equal_recall,
    lambda predictions, labels: EvaluationMetrics().add(predictions, labels, 0.5),
]


@pytest.mark.parametrize("metric", BY_BATCH)
@pytest.mark.parametrize(
    ("predictions", "labels", "text"),
    [
        ([0.1, 0.9], [0, 1], r"predictions must have the shape \[N, 1\] .* or \[N, K\] .*, not \[2\]"),
        (np.zeros((2, 1, 1)), np.zeros((2, 1, 1)), r"not \[2, 1, 1\]"),
        (np.zeros((2, 0)), np.zeros((2, 0)), r"not \[2, 0\]"),
        ([[0.1], [0.9]], [0, 1], r"labels must have the shape of the predictions, \[2, 1\], not \[2\]"),
        ([[0.1], [0.9]], [[0], [1], [1]], r"\[2, 1\], not \[3, 1\]"),
        ([[0.1], [0.9]], [[1, 0], [0, 1]], r"\[2, 1\], not \[2, 2\]"),
        ([[0.1, 0.9]], [[1]], r"\[1, 2\], not \[1, 1\]; give class numbers as one-hot rows"),
        ([[0.1], [0.9]], [[0], [2]], r"labels must be 0 or 1; 1 of 2 are not, the first is 2"),
        ([[0.1], [0.9]], [[0.5], [float("nan")]], r"2 of 2 are not, the first is 0.5"),
        ([[0.1], [0.9]], [["cat"], ["dog"]], r"labels must be 0, 1 or bool, not of type <U3"),
        ([[0.1], [float("nan")]], [[0], [1]], r"1 of 2 predictions are NaN: they cannot be ranked"),
        ([["a"], ["b"]], [[0], [1]], r"predictions must be numbers, not of type <U1"),
    ],
)
def test_arrays_that_do_not_fit_are_named(metric, predictions, labels, text):
    with pytest.raises(ValueError, match=text):
        metric(predictions, labels)


def test_average_precision_names_arrays_that_do_not_fit():
    with pytest.raises(ValueError, match=r"labels must have the shape of the predictions, \[2\], not \[3\]"):
        average_precision([0.1, 0.9], [0, 1, 1])
    with pytest.raises(ValueError, match="1 of 2 predictions are NaN"):
        average_precision([0.1, float("nan")], [0, 1])
    with pytest.raises(ValueError, match="the first is -1"):
        average_precision([0.1, 0.9], [-1, 1])


def test_no_tie_is_made_or_lost_by_conversion():
    close = np.array([[1.0], [np.nextafter(1.0, 2.0)]])
    assert checked_batch(close, [[0], [1]])[0].dtype == np.float64
    assert checked_batch(close.astype(np.float32), [[0], [1]])[0].dtype == np.float32
    assert checked_batch(close.astype(np.float16), [[0], [1]])[0].dtype == np.float32
    assert checked_batch([[0], [1]], [[0], [1]])[0].dtype == np.float64


def test_the_callers_arrays_are_copied():
    predictions, labels = np.zeros((2, 1), np.float32), np.zeros((2, 1), np.bool_)
    scores, truth = checked_batch(predictions, labels)
    assert not np.shares_memory(scores, predictions) and not np.shares_memory(truth, labels)
