"""The input files of a prediction run."""

from __future__ import annotations

import math
from dataclasses import dataclass

# What is handed on together, about: large enough that Ray's work for it does not count, small enough that many blocks
# fit into memory. A few hundred photos.
BLOCK_BYTES = 16 << 20


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

    @property
    def blocks(self) -> int:
        """About how many blocks it is read in."""
        return math.ceil(self.size_bytes / BLOCK_BYTES) if self.records else 0
