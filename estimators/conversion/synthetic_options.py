"""What to draw."""

from __future__ import annotations

from dataclasses import dataclass

from estimators.conversion.data_set_options import DataSetOptions
from estimators.options import option


@dataclass(frozen=True, kw_only=True)
class SyntheticOptions(DataSetOptions):
    """A drawn data set."""

    synthetic: int = option(group="pictures", help="draw so many pictures, half of them cats", at_least=10)
