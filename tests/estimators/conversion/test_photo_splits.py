from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from estimators.conversion.photo_layout import Photo, read_layout
from estimators.conversion.photo_options import PhotoOptions
from estimators.conversion.photo_splits import PlannedShard, plan_shards
from estimators.errors import UserError


def plan(cats: int, dogs: int, **options) -> list[PlannedShard]:
    names = [f"cat.{number}.jpg" for number in range(cats)] + [f"dog.{number}.jpg" for number in range(dogs)]
    return plan_shards(read_layout(names, ""), PhotoOptions(input="in", output="out", **options))


def photos_of(shards: list[PlannedShard], split: str) -> list[Photo]:
    return [photo for shard in shards if shard.path.startswith(f"{split}/") for photo in shard.photos]


@given(
    cats=st.integers(3, 60),
    dogs=st.integers(3, 60),
    fraction=st.sampled_from([0.0, 0.2, 0.45]),
    num_shards=st.integers(1, 9),
)
def test_each_photo_is_in_exactly_one_shard_and_every_class_in_every_split(cats, dogs, fraction, num_shards):
    shards = plan(cats, dogs, validation_fraction=fraction, test_fraction=0.1, num_shards=num_shards)
    names = [photo.name for shard in shards for photo in shard.photos]
    assert len(names) == len(set(names)) == cats + dogs
    for split in ("train", "validation", "test"):
        counts = Counter(photo.label for photo in photos_of(shards, split))
        if split == "validation" and fraction == 0:
            assert not counts
            continue
        assert set(counts) == {0, 1}
        if split == "validation":
            assert counts == {0: max(1, int(cats * fraction + 1e-9)), 1: max(1, int(dogs * fraction + 1e-9))}


def test_the_plan_depends_on_the_seed_alone():
    assert plan(20, 20, seed=3) == plan(20, 20, seed=3) != plan(20, 20, seed=4)


def test_classes_are_mixed_within_a_split():
    labels = [photo.label for photo in photos_of(plan(50, 50), "train")]
    assert labels != sorted(labels, key=lambda label: label or 0)


def test_test_photos_lose_their_label_and_stand_in_their_natural_order():
    shards = plan(30, 30)
    assert {shard.path.partition("/")[0]: shard.labelled for shard in shards} == {
        "train": True,
        "validation": True,
        "test": False,
    }
    ids = [photo.image_id for photo in photos_of(shards, "test")]
    assert ids == sorted(ids, key=lambda name: (name[:3], int(name.split(".")[1])))


def test_photos_without_classes_all_go_into_test_shards_in_their_order():
    layout = read_layout([f"{number}.jpg" for number in range(1, 24)], "")
    shards = plan_shards(layout, PhotoOptions(input="in", output="out", num_shards=3))
    assert [shard.path for shard in shards] == [f"test/test-{index:05d}-of-00003" for index in range(3)]
    ids = [photo.image_id for shard in shards for photo in shard.photos]
    assert ids == [f"{number}.jpg" for number in range(1, 24)]


def test_a_class_too_small_for_the_splits_is_named():
    with pytest.raises(UserError) as refused:
        plan(10, 2)
    assert "class dog" in refused.value.summary and "--validation_fraction=0" in refused.value.change
    assert photos_of(plan(10, 2, test_fraction=0.0), "train")


@pytest.mark.parametrize(
    ("max_rejected", "pictures", "allowed"),
    [
        (0.0, 100, 0),
        (0.05, 100, 5),
        (0.05, 10, 1),
        (0.07, 100, 7),
        (1.0, 100, 1),
        (20.0, 100, 20),
    ],
)
def test_how_many_may_be_rejected_is_a_share_or_a_number(max_rejected, pictures, allowed):
    options = PhotoOptions(input="in", output="out", max_rejected=max_rejected)
    assert options.rejections_allowed(pictures) == allowed


@pytest.mark.parametrize(
    ("name", "value"), [("max_rejected", -1.0), ("max_rejected", float("nan")), ("input", ""), ("num_shards", 0)]
)
def test_a_value_out_of_range_is_refused_by_its_flag(name, value):
    with pytest.raises(UserError) as refused:
        PhotoOptions(**{"input": "in", "output": "out", name: value})
    assert f"--{name}" in str(refused.value)
