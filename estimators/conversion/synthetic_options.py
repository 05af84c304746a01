"""What to draw, and where to put it."""

from __future__ import annotations

from dataclasses import dataclass

from estimators.errors import UserError
from estimators.options import Options, option


@dataclass(frozen=True, kw_only=True)
class SyntheticOptions(Options):
    """A drawn data set: how many pictures, how they are split, and the folder."""

    synthetic: int = option(group="pictures", help="number of pictures to draw, half of them cats", at_least=10)
    seed: int = option(0, group="pictures", help="the same seed draws the same pictures", at_least=0)
    output: str = option(group="data set", help="folder for train/, validation/ and test/; made here, or empty")
    validation_fraction: float = option(
        0.2, group="data set", help="share of the pictures for validation/; 0 leaves it out", at_least=0
    )
    test_fraction: float = option(
        0.2, group="data set", help="share of the pictures for test/, without labels; 0 leaves it out", at_least=0
    )
    num_shards: int = option(4, group="data set", help="files per split, at most one a picture", at_least=1)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.validation_fraction + self.test_fraction >= 1:
            raise UserError(
                "No picture is left for training",
                asked=f"--validation_fraction={self.validation_fraction} --test_fraction={self.test_fraction}",
                found=f"together they take {self.validation_fraction + self.test_fraction:g} of the pictures",
                change="--validation_fraction and --test_fraction must sum to less than 1",
            )
