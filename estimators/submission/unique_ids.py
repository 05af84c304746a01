"""Finds an id that comes twice among any number of them, in little memory.

Of each id 64 bits of a hash are kept, in files: each file holds the hashes of one range, so that only one of them
has to be sorted in memory at a time. Where two hashes are equal, the ids themselves are compared.
"""

from __future__ import annotations

import hashlib
import heapq
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

import numpy as np
import numpy.typing as npt

from estimators.processes.scratch_folder import scratch_errors_told

_RANGES_BITS = 6
_ROWS_BUFFERED = 1 << 16
_GROUPS_COMPARED, _ROWS_COMPARED = 100, 100
_ENTRY = np.dtype([("hash", "<u8"), ("row", "<i8")])

Hashes = npt.NDArray[np.uint64]


def hashes_of(ids: Iterable[bytes]) -> Hashes:
    """64 bits of each id's hash; the same in every process."""
    return np.frombuffer(b"".join(hashlib.blake2b(one, digest_size=8).digest() for one in ids), "<u8")


class UniqueIds:
    """Takes the hashes of ids, row by row, then says which two rows have the same id.

    Args:
      folder: an empty folder for its files, 16 bytes an id; the caller deletes it.
    """

    def __init__(self, folder: str) -> None:
        self._paths = [os.path.join(folder, f"{number:02d}.hashes") for number in range(1 << _RANGES_BITS)]
        self._buffered: list[Hashes] = []
        self._flushed, self.rows = 0, 0

    def add(self, hashes: Hashes) -> None:
        """Takes the hashes of the next rows."""
        self._buffered.append(hashes)
        self.rows += len(hashes)
        if self.rows - self._flushed >= _ROWS_BUFFERED:
            self._flush()

    def duplicate(self, ids_of: Callable[[Collection[int]], Mapping[int, bytes]]) -> tuple[int, int] | None:
        """Two rows with the same id, of all such pairs the one whose second row comes first; None if there is none.

        Args:
          ids_of: gives the ids of some rows; called only if hashes are equal.
        """
        self._flush()
        after = -1
        # Equal hashes of different ids are all but impossible; but then there may be a true pair behind them.
        while groups := heapq.nsmallest(_GROUPS_COMPARED, self._groups(after), key=lambda rows: rows[1]):
            ids = ids_of({row for group in groups for row in group})
            pairs = [pair for group in groups if (pair := _equal_pair(group, ids))]
            if pairs:
                return min(pairs, key=lambda pair: pair[1])
            after = groups[-1][1]
        return None

    def ranges(self) -> Iterator[npt.NDArray[np.void]]:
        """All hashes with their rows, range by range, sorted; the ranges of all such objects are the same."""
        self._flush()
        for path in self._paths:
            entries = np.fromfile(path, _ENTRY) if os.path.exists(path) else np.empty(0, _ENTRY)
            yield entries[np.argsort(entries["hash"], kind="stable")]  # equal ones stay in the order of their rows

    def _flush(self) -> None:
        if not self._buffered:
            return
        entries = np.empty(self.rows - self._flushed, _ENTRY)
        entries["hash"] = np.concatenate(self._buffered)
        entries["row"] = np.arange(self._flushed, self.rows)
        numbers = entries["hash"] >> np.uint64(64 - _RANGES_BITS)
        order = np.argsort(numbers, kind="stable")
        borders = np.searchsorted(numbers[order], np.arange(len(self._paths) + 1))
        entries = entries[order]
        for path, begin, end in zip(self._paths, borders, borders[1:], strict=False):
            if begin < end:
                with scratch_errors_told(path), open(path, "ab") as file:
                    file.write(entries[begin:end].tobytes())
        self._buffered, self._flushed = [], self.rows

    def _groups(self, after: int) -> Iterator[list[int]]:
        """The rows of each hash that comes more than once, if the second of them is behind `after`."""
        for entries in filter(len, self.ranges()):
            begins = np.flatnonzero(np.diff(entries["hash"], prepend=~entries["hash"][:1]))
            counts = np.diff(begins, append=len(entries))
            for begin, count in zip(begins[counts > 1], counts[counts > 1], strict=True):
                rows = entries["row"][begin : begin + min(count, _ROWS_COMPARED)].tolist()
                if rows[1] > after:
                    yield rows


def _equal_pair(rows: list[int], ids: Mapping[int, bytes]) -> tuple[int, int] | None:
    seen: dict[bytes, int] = {}
    for row in rows:
        if (first := seen.setdefault(ids[row], row)) != row:
            return first, row
    return None
