"""The input files of a prediction run."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Shard:
    """One input file.

    Attributes:
      path: the file.
      records: how many records its headers count.
      size_bytes: its size.
    """

    path: str
    records: int
    size_bytes: int
