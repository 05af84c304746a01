"""The submission CSV: the header `Id,Category`, then one row a photo, `\\n` at the end of each line.

A field is quoted only where RFC 4180 demands it: where it holds a comma, a quote or a line break.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from estimators.options import refuse_idle

HEADER = "Id,Category\n"
CATEGORY, PROBABILITY, TOP_K = "category", "probability", "top_k"
OUTPUT_FORMATS = (CATEGORY, PROBABILITY, TOP_K)
OUTPUT_FORMAT_HELP = (
    "what a CSV holds beside the id: category, the likeliest class; probability, that of class 1 (with more than two "
    "classes, a column for each); top_k, class:probability pairs, the likeliest first"
)
_NEEDS_QUOTES = frozenset(',"\r\n')


def refuse_idle_top_k(given: Mapping[str, Any], output_format: str) -> None:
    """Refuses --top_k where the CSV holds no such pairs; see `options.refuse_idle`."""
    if output_format != TOP_K:
        refuse_idle(given, ("top_k",), beside=f"--output_format={output_format}", change=f"or --output_format={TOP_K}")


def csv_header(columns: int) -> str:
    """The header of a CSV with so many columns beside the id: one is called Category, several by their class."""
    return HEADER if columns == 1 else ",".join(["Id", *(f"Category_{index}" for index in range(columns))]) + "\n"


def submission_row(image_id: str, category: int) -> str:
    """The line of one photo, e.g. `17.jpg,1`."""
    return f"{csv_field(image_id)},{category}\n"


def csv_field(text: str) -> str:
    """A text as a field of a CSV."""
    if _NEEDS_QUOTES.isdisjoint(text):
        return text
    return '"' + text.replace('"', '""') + '"'
