"""What launch.convert_prediction_from_json_to_csv is asked to do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from estimators.options import Options, option
from estimators.submission_format import CATEGORY, OUTPUT_FORMAT_HELP, OUTPUT_FORMATS, refuse_idle_top_k

_GROUP = "conversion"


@dataclass(frozen=True, kw_only=True)
class JsonToCsvOptions(Options):
    """Options of one conversion.

    Raises:
      UserError: a value is out of its range.
    """

    json_prediction_files_pattern: str = option(
        group=_GROUP, help="the JSON lines of a batch prediction, DIR/prediction.results-*, a glob; quote it"
    )
    csv_output_file: str = option(
        group=_GROUP, help="the CSV to write; an older one stays until the new one is complete"
    )
    output_format: str = option(CATEGORY, group=_GROUP, choices=OUTPUT_FORMATS, help=OUTPUT_FORMAT_HELP)
    top_k: int = option(20, group=_GROUP, at_least=1, help="most pairs per line, with --output_format=top_k")
    sample_submission: str | None = option(
        None, group=_GROUP, help="the CSV that the competition gives as a sample; the ids must be those in it"
    )

    @classmethod
    def from_flags(cls, given: Mapping[str, Any]) -> Self:
        """See Options."""
        made = cls(**given)
        refuse_idle_top_k(given, made.output_format)
        return made
