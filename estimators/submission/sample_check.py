"""Compares the ids of a submission with those of the competition's sample submission, in little memory."""

from __future__ import annotations

import codecs
import csv
import heapq
import os
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import IO

import numpy as np

from estimators import storage
from estimators.errors import DataError, UserError
from estimators.processes.scratch_folder import scratch_errors_told
from estimators.submission.unique_ids import Hashes, UniqueIds, hashes_of

_FLAG = "--sample_submission"
_IDS_AT_ONCE = 1 << 15
_SHOWN = 3


def check_sample(path: str) -> None:
    """Reads the whole file, so that its last row cannot end a run that has predicted a million photos.

    Raises:
      UserError: it cannot be read, or holds no id.
    """
    if not storage.is_remote(path) and os.path.exists(path) and not os.path.isfile(path):
        raise _unusable(path, "a folder, a pipe or a device, and it is read several times")
    if not sum(1 for _ in _sample_ids(path)):
        raise _unusable(path, "no row behind the header")


def _sample_ids(path: str) -> Iterator[bytes]:
    """The first field of each row behind the header.

    Raises:
      UserError: it cannot be read, or is no CSV.
    """
    line = 0
    try:
        with storage.open_binary(path) as file:
            rows = csv.reader(codecs.iterdecode(_lines(file), "utf-8-sig"))
            next(rows, None)
            for row in rows:
                line = rows.line_num
                if row:
                    yield row[0].encode("utf-8")
    except OSError as error:
        raise _unusable(path, error.strerror or str(error)) from None
    except (ValueError, csv.Error) as error:
        raise _unusable(path, f"not a valid CSV after line {line}: {error}") from None


def _unusable(path: str, found: str) -> UserError:
    return UserError(
        "The sample submission cannot be used",
        asked=f"{_FLAG}={path}",
        found=found,
        change=f"{_FLAG} to the CSV that the competition offers: a header, then rows that begin with an id",
    )


def _lines(file: IO[bytes]) -> Iterator[bytes]:
    while line := file.readline():
        yield line


class SampleCheck:
    """Takes the hashes of a submission's ids in their order, then says what is different from the sample.

    Args:
      path: the sample.
      folder: a folder for its files alone, made if it is missing; the caller deletes it.
    """

    def __init__(self, path: str, folder: str) -> None:
        self._path = path
        self._theirs, self._ours = (UniqueIds(_made(os.path.join(folder, name))) for name in ("theirs", "ours"))
        self._order = os.path.join(folder, "order")
        self._first_difference: int | None = None
        with scratch_errors_told(folder), open(self._order, "wb") as order:
            for ids in _chunks(_sample_ids(path)):
                hashes = hashes_of(ids)
                self._theirs.add(hashes)
                order.write(hashes.tobytes())

    def add(self, hashes: Hashes) -> None:
        """Takes the hashes of the next rows."""
        begin = self._ours.rows
        self._ours.add(hashes)
        if self._first_difference is None:
            theirs = np.fromfile(self._order, "<u8", count=len(hashes), offset=8 * begin)
            different = np.flatnonzero(theirs != hashes[: len(theirs)])
            if len(different) or len(theirs) < len(hashes):
                self._first_difference = begin + int(different[0] if len(different) else len(theirs))

    def result(self, ids_of: Callable[[Collection[int]], Mapping[int, bytes]]) -> str | None:
        """What is to be told of the order; None if it is the same.

        Args:
          ids_of: gives the ids of some rows of the submission.

        Raises:
          DataError: ids are missing, or there are others.
        """
        if self._first_difference is None and self._ours.rows == self._theirs.rows:
            return None
        missing, extra = self._difference(self._theirs, self._ours), self._difference(self._ours, self._theirs)
        if missing.count or extra.count:
            raise DataError(
                "The ids are not those of the sample submission",
                asked=f"{_FLAG}={self._path}: {self._theirs.rows} ids",
                found="; ".join(filter(None, [self._missing(missing), self._extra(extra, ids_of)])),
                change="--input_data_pattern to all files of the test set and no others; --on_bad_record=default keeps "
                "the ids of bad records",
            )
        if self._first_difference is None or self._first_difference >= self._theirs.rows:
            return f"{self._path} holds ids twice"
        row = self._first_difference
        (ours,) = ids_of([row]).values()
        theirs = _rows_of(_sample_ids(self._path), [row])[row]
        return (
            f"the ids are those of {self._path}, in another order (this matters only where rows are matched by "
            f"position): row {row + 1} is {_text(ours)} here and {_text(theirs)} there"
        )

    @staticmethod
    def _difference(these: UniqueIds, those: UniqueIds) -> _Rows:
        """The rows of these whose hash is not among those."""
        count, first = 0, list[int]()
        for mine, others in zip(these.ranges(), those.ranges(), strict=True):
            rows = mine["row"][~np.isin(mine["hash"], others["hash"])].tolist()
            count += len(rows)
            first = sorted([*first, *heapq.nsmallest(_SHOWN, rows)])[:_SHOWN]
        return _Rows(count, first)

    def _missing(self, rows: _Rows) -> str:
        return (
            f"{rows.count} are missing: {rows.named(_rows_of(_sample_ids(self._path), rows.first))}"
            if rows.count
            else ""
        )

    def _extra(self, rows: _Rows, ids_of: Callable[[Collection[int]], Mapping[int, bytes]]) -> str:
        return f"{rows.count} are not in it: {rows.named(ids_of(rows.first))}" if rows.count else ""


@dataclass(frozen=True)
class _Rows:
    """How many rows, and the first few of them."""

    count: int
    first: list[int]

    def named(self, ids: Mapping[int, bytes]) -> str:
        return ", ".join(_text(ids[row]) for row in self.first) + (", …" if self.count > len(self.first) else "")


def _text(one: bytes) -> str:
    return one.decode("utf-8", "replace")


def _rows_of(ids: Iterator[bytes], rows: Collection[int]) -> dict[int, bytes]:
    wanted = set(rows)
    return {row: one for row, one in enumerate(ids) if row in wanted}


def _chunks(ids: Iterator[bytes]) -> Iterator[list[bytes]]:
    chunk: list[bytes] = []
    for one in ids:
        chunk.append(one)
        if len(chunk) == _IDS_AT_ONCE:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def _made(folder: str) -> str:
    os.makedirs(folder)
    return folder
