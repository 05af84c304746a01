"""Which drawn picture goes into which split, and under which id. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from estimators.conversion.class_split import share_of, split_by_class
from estimators.conversion.drawn_pictures import CLASS_NAMES
from estimators.conversion.synthetic_options import SyntheticOptions
from estimators.errors import UserError


@dataclass(frozen=True)
class PlannedPicture:
    """One picture still to be drawn.

    Attributes:
      index: its number in the data set.
      label: its class.
      image_id: its id in the record.
      labelled: False keeps the class out of the record.
    """

    index: int
    label: int
    image_id: str
    labelled: bool


def _check_none_is_empty(options: SyntheticOptions, per_class: int) -> None:
    for flag in ("validation_fraction", "test_fraction"):
        fraction = getattr(options, flag)
        if fraction > 0 and share_of(per_class, fraction) == 0:
            raise UserError(
                "A split would get no picture",
                asked=f"--{flag}={fraction:g} of --synthetic={options.synthetic}",
                found=f"{fraction:g} of {per_class} pictures of a class is less than one",
                change=f"raise --synthetic or --{flag}, or set --{flag}=0 to leave that split out",
            )


def plan_splits(options: SyntheticOptions) -> Mapping[str, Sequence[PlannedPicture]]:
    """The pictures of each split, in the order of its records; the classes are balanced in all and mixed.

    Splits of fraction 0 are left out. The test ids are 1.jpg, 2.jpg, … in that order, so that an id tells nothing
    about the class.

    Raises:
      UserError: there are too few pictures for one of the splits.
    """
    num_classes = len(CLASS_NAMES)
    per_class = options.synthetic // num_classes
    _check_none_is_empty(options, per_class)
    taken = {
        "validation": share_of(per_class, options.validation_fraction),
        "test": share_of(per_class, options.test_fraction),
    }
    classes = [range(label, options.synthetic, num_classes) for label in range(num_classes)]
    return {
        split: [_planned(index, position, labelled=split != "test") for position, index in enumerate(indices)]
        for split, indices in split_by_class(classes, [taken] * num_classes, options.seed).items()
    }


def _planned(index: int, position: int, *, labelled: bool) -> PlannedPicture:
    number, label = divmod(index, len(CLASS_NAMES))
    image_id = f"{CLASS_NAMES[label]}.{number}.jpg" if labelled else f"{position + 1}.jpg"
    return PlannedPicture(index=index, label=label, image_id=image_id, labelled=labelled)
