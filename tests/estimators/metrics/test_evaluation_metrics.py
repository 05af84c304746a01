from __future__ import annotations

import json
import math
import pickle
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from estimators.metrics import (
    EvaluationMetrics,
    EvaluationResult,
    global_average_precision,
    hit_at_one,
    mean_average_precision,
    precision_at_equal_recall,
)
from tests.estimators.metrics.drawn_batches import batches

LOSSES = st.floats(-1e6, 1e6)


def gathered(parts):
    """One object that `add`s every (predictions, labels, loss)."""
    metrics = EvaluationMetrics()
    for predictions, labels, loss in parts:
        metrics.add(predictions, labels, loss)
    return metrics


@st.composite
def cut_batches(draw):
    """A batch, and the same examples cut into batches with a loss each."""
    predictions, labels = draw(batches(min_rows=1))
    cuts = sorted(draw(st.lists(st.integers(0, len(predictions)), max_size=6)))
    pieces = zip(np.split(predictions, cuts), np.split(labels, cuts), strict=True)
    return (predictions, labels), [(p, y, draw(LOSSES)) for p, y in pieces]


def test_by_hand():
    metrics = EvaluationMetrics()
    metrics.add([[0.9], [0.2], [0.6]], [[1], [0], [0]], 0.3)
    metrics.add([[0.4]], [[1]], 0.7)
    # Ranked: 0.9 yes (1/1), 0.6 no, 0.4 yes (2/3), 0.2 no.
    result = metrics.result()
    assert (result.examples, result.hit_at_one, result.perr) == (4, 0.5, 0.5)
    assert result.mean_average_precision == result.global_average_precision == pytest.approx(5 / 6, abs=1e-15)
    assert result.loss == pytest.approx((3 * 0.3 + 0.7) / 4, abs=1e-15)


@given(cut_batches())
def test_batches_give_what_the_functions_give_for_all_examples_at_once(drawn):
    (predictions, labels), parts = drawn
    result = gathered(parts).result()
    assert result.examples == len(predictions)
    assert result.hit_at_one == hit_at_one(predictions, labels)
    assert result.perr == precision_at_equal_recall(predictions, labels)
    assert result.mean_average_precision == mean_average_precision(predictions, labels)
    assert result.global_average_precision == global_average_precision(predictions, labels)
    exact = sum(len(p) * Fraction(loss) for p, _, loss in parts) / len(predictions)
    size = sum(len(p) * abs(loss) for p, _, loss in parts) / len(predictions)
    assert abs(Fraction(result.loss) - exact) <= 1e-12 * size


@given(cut_batches(), st.randoms(use_true_random=False), st.integers(1, 4))
def test_parts_merged_in_any_order_and_grouping_give_the_bits_of_the_whole(drawn, random, processes):
    _, batches_with_loss = drawn
    whole = gathered(batches_with_loss).result()
    random.shuffle(batches_with_loss)
    parts = [gathered(batches_with_loss[k::processes]) for k in range(processes)]
    random.shuffle(parts)
    merged = EvaluationMetrics()
    for part in parts:
        merged.merge(pickle.loads(pickle.dumps(part)))
    assert merged.result() == whole


@given(st.integers(0, 2**32 - 1), st.integers(2, 9))
def test_examples_scattered_over_parts_give_the_bits_of_the_whole(seed, parts):
    generator = np.random.default_rng(seed)
    predictions = generator.random((200, 3)).round(2).astype(np.float32)
    labels, owner = generator.random((200, 3)) < 0.3, generator.integers(0, parts, 200)
    merged = gathered([(predictions[owner == k], labels[owner == k], 0.5) for k in range(parts)])
    assert merged.result() == gathered([(predictions, labels, 0.5)]).result()


def test_float32_and_float64_parts_rank_together():
    third = np.float32(1 / 3)
    narrow, wide = np.array([[third]], np.float32), np.array([[1 / 3]], np.float64)  # the narrow one is larger
    result = gathered([(wide, [[0]], 0.5), (narrow, [[1]], 0.5)]).result()
    assert result.global_average_precision == 1.0


def test_merging_leaves_the_other_as_it_was():
    part = gathered([([[0.9]], [[1]], 0.1)])
    before = part.result()
    whole = gathered([([[0.1]], [[0]], 0.2)])
    whole.merge(part)
    whole.add([[0.3]], [[1]], 0.3)
    assert part.result() == before
    assert whole.result().examples == 3


def test_a_part_whose_arrays_are_read_only_can_be_merged_and_added_to():
    # As Ray hands objects over: arrays out of band, in memory that nobody may write to.
    buffers: list[pickle.PickleBuffer] = []
    pickled = pickle.dumps(gathered([([[0.9]], [[1]], 0.1)]), protocol=5, buffer_callback=buffers.append)
    part = pickle.loads(pickled, buffers=[bytes(buffer) for buffer in buffers])
    part.add([[0.2]], [[0]], 0.1)
    part.merge(gathered([([[0.3]], [[0]], 0.1)]))
    assert buffers and part.result() == gathered([([[p]], [[int(p > 0.5)]], 0.1) for p in (0.2, 0.3, 0.9)]).result()


def test_the_callers_arrays_may_be_used_again():
    predictions, labels = np.array([[0.9], [0.1]], np.float32), np.array([[True], [False]])
    metrics = gathered([(predictions, labels, 0.5)])
    predictions[:], labels[:] = 0.0, False
    assert metrics.result().global_average_precision == 1.0


def test_a_batch_with_other_columns_is_refused_and_nothing_is_added():
    metrics = gathered([([[0.9]], [[1]], 0.1)])
    before = metrics.result()
    with pytest.raises(ValueError, match="predictions with 2 columns cannot join predictions with 1"):
        metrics.add([[0.9, 0.1]], [[1, 0]], 0.1)
    with pytest.raises(ValueError, match="2 columns"):
        metrics.merge(gathered([([[0.9, 0.1]], [[1, 0]], 0.1)]))
    with pytest.raises(ValueError, match="NaN"):
        metrics.add([[float("nan")]], [[1]], 0.1)
    assert metrics.result() == before


def test_an_empty_batch_or_part_changes_nothing():
    metrics = gathered([([[0.9]], [[1]], 0.1)])
    before = metrics.result()
    metrics.add(np.zeros((0, 1)), np.zeros((0, 1)), float("nan"))
    metrics.merge(EvaluationMetrics())
    assert metrics.result() == before


def test_nothing_gathered_gives_zeros_and_no_loss():
    result = EvaluationMetrics().result()
    assert math.isnan(result.loss)
    expected = {"examples": 0, "hit_at_1": 0.0, "perr": 0.0, "map": 0.0, "gap": 0.0, "loss": None}
    assert result.to_json() == expected


def test_the_keys_of_the_json_object_stay():
    result = EvaluationResult(
        examples=3, hit_at_one=0.1, perr=0.2, mean_average_precision=0.3, global_average_precision=0.4, loss=0.5
    )
    text = json.dumps(result.to_json())
    assert text == '{"examples": 3, "hit_at_1": 0.1, "perr": 0.2, "map": 0.3, "gap": 0.4, "loss": 0.5}'


def test_a_result_is_of_plain_python_numbers():
    result = gathered([(np.array([[0.9], [0.1]], np.float32), [[1], [0]], np.float32(0.5))]).result()
    assert [type(value) for value in result.to_json().values()] == [int] + [float] * 5


@pytest.mark.parametrize(
    ("losses", "expected"),
    [
        ((math.inf, 1.0), math.inf),
        ((math.inf, -math.inf), math.nan),
        ((math.nan, 1.0), math.nan),
        ((1.7e308, 1.7e308), math.inf),
    ],
)
def test_a_loss_without_bounds_is_reported_not_raised(losses, expected):
    result = gathered([([[0.9]], [[1]], loss) for loss in losses]).result()
    assert str(result.loss) == str(expected)
    assert result.to_json()["loss"] is None
