from __future__ import annotations

import numpy as np
import pytest

from estimators.metrics import hit_at_one


def test_one_column_by_hand():
    # Predicted 1, 0, 1, 0 against 1, 0, 0, 1: two of four.
    assert hit_at_one([[0.9], [0.2], [0.6], [0.4]], [[1], [0], [0], [1]]) == 0.5


def test_a_probability_of_one_half_predicts_class_0():
    above = np.nextafter(np.float32(0.5), np.float32(1))
    assert hit_at_one([[0.5]], [[0]]) == 1.0
    assert hit_at_one([[0.5]], [[1]]) == 0.0
    assert hit_at_one([[above]], [[1]]) == 1.0


def test_k_columns_by_hand():
    predictions = [[0.1, 0.7, 0.2], [0.6, 0.3, 0.1], [0.2, 0.3, 0.5]]
    assert hit_at_one(predictions, [[0, 1, 0], [0, 1, 0], [0, 0, 1]]) == pytest.approx(2 / 3, abs=1e-15)


def test_any_of_several_labels_is_a_hit_and_none_never_is():
    assert hit_at_one([[0.9, 0.1, 0.5], [0.9, 0.1, 0.5]], [[1, 0, 1], [0, 0, 0]]) == 0.5


def test_the_first_of_equal_columns_is_predicted():
    assert hit_at_one([[0.4, 0.4, 0.2]], [[1, 0, 0]]) == 1.0
    assert hit_at_one([[0.4, 0.4, 0.2]], [[0, 1, 0]]) == 0.0


@pytest.mark.parametrize("columns", [1, 3])
def test_no_photos_give_zero(columns):
    assert hit_at_one(np.zeros((0, columns)), np.zeros((0, columns))) == 0.0
