"""Glob patterns: several in one, and matched against a plain list of names by the rules of a local disk."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Sequence

WILDCARD = re.compile(r"[*?\[]")


def patterns_in(pattern: str) -> list[str]:
    """The several patterns of one, which commas separate."""
    return [part for piece in pattern.split(",") if (part := piece.strip())]


def matches(names: Sequence[str], parts: Sequence[str]) -> bool:
    """Whether a path matches a pattern, both cut at their slashes; `*` matches no dot at the beginning of a name."""
    return len(names) == len(parts) and all(
        name and fnmatch.fnmatchcase(name, part) and (part.startswith(".") or not name.startswith("."))
        for name, part in zip(names, parts, strict=True)
    )
