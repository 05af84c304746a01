"""What all data sets that are made here have in common: the folder, the splits, the shards."""

from __future__ import annotations

from dataclasses import dataclass

from estimators.errors import UserError
from estimators.options import Options, option


@dataclass(frozen=True, kw_only=True)
class DataSetOptions(Options):
    """Where a data set goes and how it is split."""

    output: str = option(
        group="data set", help="folder for train/, validation/, test/ and manifest.json; made here, or empty"
    )
    validation_fraction: float = option(
        0.2, group="data set", help="share of the pictures of each class for validation/; 0 leaves it out", at_least=0
    )
    test_fraction: float = option(
        0.2,
        group="data set",
        help="share of the pictures of each class for test/, without labels; 0 leaves it out",
        at_least=0,
    )
    num_shards: int = option(4, group="data set", help="files per split, at most one a picture", at_least=1)
    seed: int = option(
        0, group="data set", help="the same seed draws the same pictures and splits in the same way", at_least=0
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.validation_fraction + self.test_fraction >= 1:
            raise UserError(
                "No picture is left for training",
                asked=f"--validation_fraction={self.validation_fraction} --test_fraction={self.test_fraction}",
                found=f"together they take {self.validation_fraction + self.test_fraction:g} of the pictures",
                change="--validation_fraction and --test_fraction must sum to less than 1",
            )
