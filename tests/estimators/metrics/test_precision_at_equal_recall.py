from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given

from estimators.metrics import hit_at_one, precision_at_equal_recall
from tests.estimators.metrics.drawn_batches import batches


def photo_by_photo(predictions, labels):
    """PERR straight from its definition."""
    precisions = []
    for scores, truth in zip(predictions.tolist(), labels.tolist(), strict=True):
        count = int(sum(truth))
        if count:
            ranking = sorted((-score, column) for column, score in enumerate(scores))
            precisions.append(sum(truth[column] for _, column in ranking[:count]) / count)
    return sum(precisions) / len(precisions) if precisions else 0.0


def test_k_columns_by_hand():
    predictions = [
        [0.9, 0.8, 0.1, 0.2],  # two labels, columns 0 and 2; top two are 0 and 1: 1/2
        [0.1, 0.2, 0.3, 0.4],  # one label, column 3; top one is 3: 1
        [0.4, 0.3, 0.2, 0.1],  # three labels, 1, 2 and 3; top three are 0, 1 and 2: 2/3
    ]
    labels = [[1, 0, 1, 0], [0, 0, 0, 1], [0, 1, 1, 1]]
    assert precision_at_equal_recall(predictions, labels) == pytest.approx((1 / 2 + 1 + 2 / 3) / 3, abs=1e-15)


def test_a_photo_without_labels_is_left_out():
    assert precision_at_equal_recall([[0.9, 0.1], [0.9, 0.1]], [[1, 0], [0, 0]]) == 1.0


def test_the_first_of_equal_columns_ranks_higher():
    assert precision_at_equal_recall([[0.5, 0.5, 0.5]], [[1, 1, 0]]) == 1.0
    assert precision_at_equal_recall([[0.5, 0.5, 0.5]], [[0, 1, 1]]) == 0.5


def test_the_first_of_many_equal_columns_rank_higher():
    labels = np.arange(100)[np.newaxis] < 30
    predictions = np.tile([0.5, 0.1], 50)[np.newaxis]  # the top 30 are the even columns below 60: half of them right
    assert precision_at_equal_recall(predictions, labels) == 0.5


def test_scores_below_zero_are_ranked_too():
    assert precision_at_equal_recall([[-1.0, -2.0, -3.0]], [[1, 0, 0]]) == 1.0


def test_one_column_by_hand():
    # [1 - p, p] is [0.1, 0.9], [0.8, 0.2], [0.4, 0.6]; one label each; the last one misses.
    assert precision_at_equal_recall([[0.9], [0.2], [0.6]], [[1], [0], [0]]) == pytest.approx(2 / 3, abs=1e-15)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_in_one_column_perr_is_hit_at_one_also_next_to_one_half(dtype):
    half, tiny = dtype(0.5), np.finfo(dtype).tiny
    predictions = np.array([[np.nextafter(half, dtype(0))], [half], [np.nextafter(half, dtype(1))], [tiny], [1]], dtype)
    for labels in (np.zeros((5, 1)), np.ones((5, 1))):
        assert precision_at_equal_recall(predictions, labels) == hit_at_one(predictions, labels)


@given(batches(columns=1))
def test_in_one_column_perr_is_hit_at_one(batch):
    assert precision_at_equal_recall(*batch) == hit_at_one(*batch)


@given(batches(columns=4))
def test_it_agrees_with_its_definition_photo_by_photo(batch):
    assert precision_at_equal_recall(*batch) == pytest.approx(photo_by_photo(*batch), abs=1e-12)


@pytest.mark.parametrize("columns", [1, 3])
def test_no_photos_give_zero(columns):
    assert precision_at_equal_recall(np.zeros((0, columns)), np.zeros((0, columns))) == 0.0


def test_no_labels_give_zero():
    assert precision_at_equal_recall([[0.2, 0.8]], [[0, 0]]) == 0.0
