from __future__ import annotations

import pytest

from estimators.conversion.synthetic_options import SyntheticOptions
from estimators.errors import UserError


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("synthetic", 9),
        ("seed", -1),
        ("output", " "),
        ("validation_fraction", -0.1),
        ("test_fraction", float("nan")),
        ("num_shards", 0),
    ],
)
def test_a_value_out_of_range_is_refused_by_its_flag(name, value):
    with pytest.raises(UserError) as refused:
        SyntheticOptions(**{"synthetic": 10, "output": "x", name: value})
    assert f"--{name}" in str(refused.value)


def test_fractions_that_leave_nothing_for_training_are_refused():
    with pytest.raises(UserError) as refused:
        SyntheticOptions(synthetic=10, output="x", validation_fraction=0.5, test_fraction=0.5)
    assert "--validation_fraction=0.5 --test_fraction=0.5" in str(refused.value)
