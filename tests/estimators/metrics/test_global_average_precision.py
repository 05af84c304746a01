from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given

from estimators.metrics import average_precision, global_average_precision, mean_average_precision
from tests.estimators.metrics.drawn_batches import batches, sklearn_average_precision


def test_by_hand():
    # All pairs ranked: 0.9 yes (1/1), 0.8 no, 0.7 yes (2/3), 0.1 no.
    assert global_average_precision([[0.9, 0.8], [0.1, 0.7]], [[1, 0], [0, 1]]) == pytest.approx(5 / 6, abs=1e-15)


def test_scores_are_compared_between_classes_where_map_compares_within_each():
    # Each class ranks its own photos perfectly, but all of class 1's scores are higher.
    predictions, labels = [[0.2, 0.8], [0.1, 0.9]], [[1, 0], [0, 1]]
    assert mean_average_precision(predictions, labels) == 1.0
    assert global_average_precision(predictions, labels) == pytest.approx((1 + 2 / 3) / 2, abs=1e-15)


def test_a_class_with_no_positive_example_stays_in():
    assert global_average_precision([[0.5, 0.9]], [[1, 0]]) == 0.5


def test_equal_scores_enter_together_across_photos_and_classes():
    assert global_average_precision([[0.5, 0.5], [0.5, 0.5]], [[1, 0], [0, 0]]) == 0.25


def test_one_column_is_the_average_precision_of_class_1():
    predictions, labels = np.array([[0.9], [0.8], [0.7]]), np.array([[0], [1], [1]])
    assert global_average_precision(predictions, labels) == average_precision(predictions, labels)
    assert global_average_precision(predictions, labels) == mean_average_precision(predictions, labels)


@pytest.mark.parametrize("columns", [1, 3])
def test_no_photos_and_no_labels_give_zero(columns):
    assert global_average_precision(np.zeros((0, columns)), np.zeros((0, columns))) == 0.0
    assert global_average_precision(np.ones((2, columns)), np.zeros((2, columns))) == 0.0


@given(batches(min_rows=1))
def test_it_is_the_micro_average_of_sklearn(batch):
    predictions, labels = batch
    expected = sklearn_average_precision(predictions, labels, average="micro")
    assert global_average_precision(predictions, labels) == pytest.approx(expected, abs=1e-9)
