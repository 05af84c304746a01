"""Which data set to verify."""

from __future__ import annotations

from dataclasses import dataclass

from estimators.options import Options, option


@dataclass(frozen=True, kw_only=True)
class CheckOptions(Options):
    """A data set to verify."""

    check: str = option(
        group="check",
        help="verify these TFRecord files, a glob (commas separate several), or the folder that --output named",
    )
    num_classes: int | None = option(
        None,
        group="check",
        help="labels must be below it; without it, the number of classes in manifest.json, or 2 where there is none",
        at_least=2,
    )
