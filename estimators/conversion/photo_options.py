"""Which photos to convert, and how many of them may be bad."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from estimators.conversion.data_set_options import DataSetOptions
from estimators.options import option, refuse_idle


@dataclass(frozen=True, kw_only=True)
class PhotoOptions(DataSetOptions):
    """A data set made of somebody's own photos."""

    input: str = option(
        group="photos",
        help="convert the photos in this folder or .zip: one folder per class (cats/ dogs/), or cat.0.jpg …, or "
        "a folder of photos without classes, which becomes test/ alone",
    )
    unlabelled: bool = option(
        False,
        group="photos",
        help="the photos have no classes, whatever files and folders are called (photo.1.jpg …): all become test/",
    )
    max_rejected: float = option(
        0.05,
        group="photos",
        help="how many pictures that do not decode may be left out before that is an error: a number, or, below 1, a "
        "share of all pictures (rounded up)",
        at_least=0,
    )

    @classmethod
    def from_flags(cls, given: Mapping[str, Any]) -> Self:
        """See Options."""
        made = cls(**given)
        if made.unlabelled:
            refuse_idle(
                given,
                ("validation_fraction", "test_fraction"),
                beside="--unlabelled",
                change="photos without classes all become test/",
            )
        return made

    def rejections_allowed(self, pictures: int) -> int:
        """How many of so many pictures may be left out."""
        share = self.max_rejected < 1
        # The small subtrahend keeps 100 * 0.07 = 7.000000000000001 from becoming 8.
        return math.ceil(pictures * self.max_rejected - 1e-9) if share else int(min(self.max_rejected, pictures))
