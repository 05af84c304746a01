"""Which photos to convert, and how many of them may be bad."""

from __future__ import annotations

import math
from dataclasses import dataclass

from estimators.conversion.data_set_options import DataSetOptions
from estimators.options import option


@dataclass(frozen=True, kw_only=True)
class PhotoOptions(DataSetOptions):
    """A data set made of somebody's own photos."""

    input: str = option(
        group="photos",
        help="convert the photos in this folder or .zip: a folder a class (cats/ dogs/), or cat.0.jpg dog.1.jpg …, or "
        "a folder of photos without classes, which becomes test/ alone",
    )
    max_rejected: float = option(
        0.05,
        group="photos",
        help="how many pictures that do not decode may be left out before that is an error: a number, or, below 1, a "
        "share of all pictures (rounded up)",
        at_least=0,
    )

    def rejections_allowed(self, pictures: int) -> int:
        """How many of so many pictures may be left out."""
        share = self.max_rejected < 1
        # The small subtrahend keeps 100 * 0.07 = 7.000000000000001 from becoming 8.
        return math.ceil(pictures * self.max_rejected - 1e-9) if share else int(min(self.max_rejected, pictures))
