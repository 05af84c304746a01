from __future__ import annotations

import math

import numpy as np
import pytest

from estimators import BaseLoss
from estimators.losses import CrossEntropyLoss

EPSILON = 1e-5


def loss(predictions: list[list[float]], labels: list[list[float]]) -> float:
    value = CrossEntropyLoss().calculate_loss(np.array(predictions, np.float32), np.array(labels, np.float32))
    assert value.shape == ()
    return float(value)


def test_one_column_by_hand() -> None:
    expected = -(math.log(0.8 + EPSILON) + math.log(1 - 0.3 + EPSILON)) / 2
    assert loss([[0.8], [0.3]], [[1], [0]]) == pytest.approx(expected, rel=1e-5)


def test_several_columns_are_added_up_and_examples_averaged() -> None:
    one = -(math.log(0.7 + EPSILON) + math.log(0.8 + EPSILON) + math.log(0.9 + EPSILON))
    assert loss([[0.7, 0.2, 0.1]], [[1, 0, 0]]) == pytest.approx(one, rel=1e-5)
    assert loss([[0.7, 0.2, 0.1]] * 7, [[1, 0, 0]] * 7) == pytest.approx(one, rel=1e-5)


@pytest.mark.parametrize("prediction", [0.0, 1.0])
def test_certainty_that_is_wrong_costs_much_but_not_infinitely_and_one_that_is_right_nothing(prediction: float) -> None:
    assert loss([[prediction]], [[1 - prediction]]) == pytest.approx(-math.log(EPSILON), rel=1e-2)
    assert loss([[prediction]], [[prediction]]) == pytest.approx(0, abs=2e-5)


def test_a_loss_without_its_method_cannot_be_made() -> None:
    class Incomplete(BaseLoss):
        pass

    with pytest.raises(TypeError, match="calculate_loss"):
        Incomplete()  # type: ignore[abstract]
