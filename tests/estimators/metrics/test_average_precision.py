from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from estimators.metrics import average_precision
from tests.estimators.metrics.drawn_batches import batches, sklearn_average_precision


def test_by_hand():
    # Ranked: 1 (precision 1), 0, 1 (precision 2/3), 0; each positive is half of the recall.
    assert average_precision([0.9, 0.8, 0.7, 0.1], [1, 0, 1, 0]) == pytest.approx((1 + 2 / 3) / 2, abs=1e-15)


def test_equal_scores_enter_together():
    # At 0.8 two of three are positive, at 0.3 three of four.
    expected = (2 * (2 / 3) + 1 * (3 / 4)) / 3
    for labels in ([1, 1, 0, 1], [0, 1, 1, 1], [1, 0, 1, 1]):
        assert average_precision([0.8, 0.8, 0.8, 0.3], labels) == pytest.approx(expected, abs=1e-15)


def test_equal_scores_throughout_give_the_share_of_positives():
    assert average_precision([0.5] * 8, [1, 0, 0, 0, 1, 0, 0, 0]) == 0.25


def test_a_perfect_ranking_gives_one_whatever_the_scores():
    assert average_precision([-3.0, 1e30, 5.0, -np.inf], [0, 1, 1, 0]) == 1.0


def test_no_positive_example_gives_zero_as_in_sklearn():
    assert average_precision([0.2, 0.8], [0, 0]) == 0.0 == sklearn_average_precision([0.2, 0.8], [0, 0])


def test_only_positive_examples_give_one():
    assert average_precision([0.2, 0.8], [1, 1]) == 1.0


def test_no_examples_give_zero():
    assert average_precision([], []) == 0.0


def test_zero_and_minus_zero_are_a_tie():
    assert average_precision([0.0, -0.0], [1, 0]) == average_precision([-0.0, 0.0], [1, 0]) == 0.5


@given(batches(columns=1, min_rows=1))
def test_it_agrees_with_sklearn_on_a_column(batch):
    scores, labels = batch
    expected = sklearn_average_precision(scores[:, 0], labels[:, 0])
    assert average_precision(scores[:, 0], labels[:, 0]) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("decimals", [1, 3, 16])
def test_it_agrees_with_sklearn_on_many_examples(decimals):
    generator = np.random.default_rng(decimals)
    scores = generator.random(20_000).round(decimals)
    labels = generator.random(20_000) < 0.1 + 0.5 * scores
    assert average_precision(scores, labels) == pytest.approx(sklearn_average_precision(scores, labels), abs=1e-9)


@given(batches(columns=1), st.randoms(use_true_random=False))
def test_the_order_of_the_examples_changes_no_bit(batch, random):
    scores, labels = batch
    order = random.sample(range(len(scores)), len(scores))
    assert average_precision(scores[order], labels[order]) == average_precision(scores, labels)
