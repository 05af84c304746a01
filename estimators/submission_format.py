"""The submission CSV: the header `Id,Category`, then one row a photo, `\\n` at the end of each line.

A field is quoted only where RFC 4180 demands it: where it holds a comma, a quote or a line break.
"""

from __future__ import annotations

HEADER = "Id,Category\n"
_NEEDS_QUOTES = frozenset(',"\r\n')


def submission_row(image_id: str, category: int) -> str:
    """The line of one photo, e.g. `17.jpg,1`."""
    return f"{_field(image_id)},{category}\n"


def _field(text: str) -> str:
    if _NEEDS_QUOTES.isdisjoint(text):
        return text
    return '"' + text.replace('"', '""') + '"'
