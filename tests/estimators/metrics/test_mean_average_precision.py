from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given

from estimators.metrics import average_precision, mean_average_precision
from tests.estimators.metrics.drawn_batches import batches, sklearn_average_precision


def test_by_hand():
    predictions = [[0.9, 0.1], [0.8, 0.3], [0.2, 0.2]]
    labels = [[0, 0], [1, 0], [0, 1]]
    # Class 0: its only positive is second of three. Class 1: the same. A third of the recall each, precision 1/2.
    assert mean_average_precision(predictions, labels) == 0.5


def test_every_class_weighs_the_same():
    predictions = [[0.9, 0.1], [0.8, 0.2], [0.7, 0.3], [0.6, 0.4]]
    labels = [[1, 1], [1, 0], [1, 0], [1, 0]]
    assert mean_average_precision(predictions, labels) == (1 + 1 / 4) / 2


def test_a_class_with_no_positive_example_is_left_out():
    assert mean_average_precision([[0.9, 0.5], [0.1, 0.7]], [[1, 0], [0, 0]]) == 1.0


def test_one_column_is_the_average_precision_of_class_1():
    predictions, labels = np.array([[0.9], [0.8], [0.7]]), np.array([[0], [1], [1]])
    assert mean_average_precision(predictions, labels) == average_precision(predictions[:, 0], labels[:, 0])


def test_no_positive_example_at_all_gives_zero():
    assert mean_average_precision([[0.9, 0.5]], [[0, 0]]) == 0.0


@pytest.mark.parametrize("columns", [1, 3])
def test_no_photos_give_zero(columns):
    assert mean_average_precision(np.zeros((0, columns)), np.zeros((0, columns))) == 0.0


@given(batches(columns=3, min_rows=1))
def test_it_agrees_with_sklearn_over_the_classes_that_have_a_positive(batch):
    predictions, labels = batch
    present = np.flatnonzero(labels.any(axis=0))
    each = [sklearn_average_precision(predictions[:, column], labels[:, column]) for column in present]
    expected = float(np.mean(each)) if each else 0.0
    assert mean_average_precision(predictions, labels) == pytest.approx(expected, abs=1e-9)
