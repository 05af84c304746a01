"""Which photo goes into which shard. Pure."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from estimators.conversion.class_split import share_of, split_by_class
from estimators.conversion.photo_layout import Layout, Photo, natural_order
from estimators.conversion.photo_options import PhotoOptions
from estimators.conversion.shard_writer import shard_path, shard_sizes
from estimators.errors import UserError


@dataclass(frozen=True)
class PlannedShard:
    """One shard still to be written.

    Attributes:
      path: relative to the data set's folder.
      photos: in the order of its records.
      labelled: False keeps the classes out of the records.
    """

    path: str
    photos: tuple[Photo, ...]
    labelled: bool


def plan_shards(layout: Layout, options: PhotoOptions) -> list[PlannedShard]:
    """The shards of all splits; the classes are balanced in all and mixed.

    Photos without classes all go into test/. The photos of test/ are in the natural order of their ids.

    Raises:
      UserError: a class has too few photos for the splits.
    """
    splits = _split(layout, options) if layout.class_names else {"test": layout.photos}
    shards = []
    for split, photos in splits.items():
        if split == "test":
            photos = sorted(photos, key=lambda photo: natural_order(photo.image_id))
        sizes, remaining = shard_sizes(len(photos), options.num_shards), iter(photos)
        for index, size in enumerate(sizes):
            path = shard_path(split, index, len(sizes))
            shards.append(PlannedShard(path, tuple(itertools.islice(remaining, size)), labelled=split != "test"))
    return shards


def _split(layout: Layout, options: PhotoOptions) -> Mapping[str, Sequence[Photo]]:
    classes: list[list[Photo]] = [[] for _ in layout.class_names]
    for photo in layout.photos:
        assert photo.label is not None
        classes[photo.label].append(photo)
    taken = [_taken(name, len(photos), options) for name, photos in zip(layout.class_names, classes, strict=True)]
    return split_by_class(classes, taken, options.seed)


def _taken(class_name: str, count: int, options: PhotoOptions) -> dict[str, int]:
    """How many of a class's photos each split but train gets: at least one, so that every split knows every class."""
    fractions = {"validation": options.validation_fraction, "test": options.test_fraction}
    taken = {split: max(1, share_of(count, part)) if part > 0 else 0 for split, part in fractions.items()}
    if sum(taken.values()) >= count:
        raise UserError(
            f"There are too few pictures of class {class_name}",
            asked=f"--validation_fraction={options.validation_fraction:g} --test_fraction={options.test_fraction:g}",
            found=f"{count} of it, and each split needs one at least",
            change="add pictures, or leave a split out: --validation_fraction=0 or --test_fraction=0",
        )
    return taken
