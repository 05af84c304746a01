"""Divides the members of each class among the splits. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar

import numpy as np

ItemT = TypeVar("ItemT")

# Told apart from the random numbers of drawn pictures, which come from (seed, index).
_SPLIT_STREAM = 2**32


def share_of(count: int, fraction: float) -> int:
    """`fraction` of `count`, rounded down."""
    # The small addend makes 100 * 0.29 = 28.999999999999996 into 29.
    return int(count * fraction + 1e-9)


def split_by_class(
    classes: Sequence[Sequence[ItemT]], taken: Sequence[Mapping[str, int]], seed: int
) -> dict[str, list[ItemT]]:
    """The members of train, validation and test, the classes mixed; a split without members is left out.

    Args:
      classes: the members of each class, in an order that does not change from run to run.
      taken: for each class, how many go into validation and into test; the others go into train.
      seed: the same seed divides in the same way.
    """
    rng = np.random.default_rng((seed, _SPLIT_STREAM))
    splits: dict[str, list[ItemT]] = {"train": [], "validation": [], "test": []}
    for members, counts in zip(classes, taken, strict=True):
        remaining = [members[place] for place in rng.permutation(len(members))]
        for split in ("validation", "test"):
            splits[split] += remaining[: counts[split]]
            remaining = remaining[counts[split] :]
        splits["train"] += remaining
    return {
        split: [members[place] for place in rng.permutation(len(members))]
        for split, members in splits.items()
        if members
    }
