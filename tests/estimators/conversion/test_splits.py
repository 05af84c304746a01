from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from estimators.conversion.splits import PlannedPicture, plan_splits
from estimators.conversion.synthetic_options import SyntheticOptions
from estimators.errors import UserError


def _plan(**options) -> dict[str, list[PlannedPicture]]:
    return {name: list(split) for name, split in plan_splits(SyntheticOptions(output="unused", **options)).items()}


@given(
    synthetic=st.integers(10, 300), validation=st.sampled_from([0.0, 0.2, 0.45]), test=st.sampled_from([0.0, 0.2, 0.5])
)
def test_each_picture_is_in_exactly_one_split_and_the_classes_are_balanced(synthetic, validation, test):
    splits = _plan(synthetic=synthetic, validation_fraction=validation, test_fraction=test)
    assert sorted(picture.index for split in splits.values() for picture in split) == list(range(synthetic))
    for split in splits.values():
        classes = Counter(picture.label for picture in split)
        assert set(classes) == {0, 1} and abs(classes[0] - classes[1]) <= 1


def test_the_fractions_are_kept():
    splits = _plan(synthetic=200, validation_fraction=0.29, test_fraction=0.1)
    assert {name: len(split) for name, split in splits.items()} == {"train": 122, "validation": 58, "test": 20}


def test_a_split_of_fraction_0_is_left_out():
    assert set(_plan(synthetic=20, test_fraction=0.0)) == {"train", "validation"}


def test_the_ids_are_unique_and_name_the_class_where_it_is_known():
    splits = _plan(synthetic=50)
    ids = [picture.image_id for split in splits.values() for picture in split]
    assert len(set(ids)) == len(ids)
    for picture in splits["train"] + splits["validation"]:
        assert picture.labelled and picture.image_id.startswith("dog." if picture.label else "cat.")


def test_the_test_ids_count_from_1_in_order_and_tell_nothing_about_the_class():
    test = _plan(synthetic=400)["test"]
    assert [picture.image_id for picture in test] == [f"{number}.jpg" for number in range(1, len(test) + 1)]
    assert not any(picture.labelled for picture in test)
    odd, even = sum(picture.label for picture in test[::2]), sum(picture.label for picture in test[1::2])
    assert 5 < odd < 35 and 5 < even < 35


def test_classes_are_mixed_within_a_split():
    labels = [picture.label for picture in _plan(synthetic=400)["train"]]
    assert labels != sorted(labels) and set(labels[:20]) == {0, 1}


def test_another_seed_splits_otherwise():
    assert _plan(synthetic=50, seed=1) != _plan(synthetic=50, seed=2)


def test_a_fraction_too_small_for_one_picture_of_each_class_is_refused():
    with pytest.raises(UserError) as refused:
        _plan(synthetic=10, test_fraction=0.1)
    assert "--test_fraction=0.1 of --synthetic=10" in refused.value.asked
    assert "--test_fraction=0" in refused.value.change
