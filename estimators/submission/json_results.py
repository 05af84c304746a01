"""Batch predictions in JSON lines: `prediction.results-00000-of-000NN`, an object a line.

{"image_id": "17.jpg", "class_indexes": [1, 0], "predictions": [0.98, 0.02]}
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from estimators import storage
from estimators.errors import DataError
from estimators.submission.prediction_columns import CLASS_INDEXES, IMAGE_ID, PREDICTIONS, SCHEMA

_ROWS_AT_ONCE = 8192
_NUMBERED = re.compile(r"(.*-)(\d{5})-of-(\d{5})")
_LARGEST = 3.4028234e38  # a float32
_LARGEST_CLASS = 2**31 - 1
_SHOWN = 80
_Row = tuple[str, list[int], list[float]]


@dataclass(frozen=True)
class Place:
    """Where an id was found.

    Attributes:
      path: the file.
      line: the number of its line, from 1.
      image_id: the id.
    """

    path: str
    line: int
    image_id: bytes

    def __str__(self) -> str:
        return f"line {self.line} of {self.path}"


def require_all_shards(paths: Sequence[str], *, flag: str) -> None:
    """Refuses files named `…-00000-of-00005` if some of the five are not among them.

    Raises:
      DataError: a file is missing, or the files are of several sets.
    """
    sets: dict[str, dict[int, set[int]]] = {}
    for match in filter(None, map(_NUMBERED.fullmatch, paths)):
        sets.setdefault(match[1], {}).setdefault(int(match[3]), set()).add(int(match[2]))
    for prefix, by_count in sorted(sets.items()):
        if len(by_count) > 1:
            raise DataError(
                "The files are of several batch predictions",
                asked=f"--{flag}",
                found=" and ".join(f"{prefix}?????-of-{count:05d}" for count in sorted(by_count)),
                change=f"delete the older ones, or name one set in --{flag}",
            )
        ((count, found),) = by_count.items()
        if missing := sorted(set(range(count)) - found):
            raise DataError(
                "A file of the batch prediction is missing",
                asked=f"{count} files {prefix}?????-of-{count:05d}",
                found=f"no {prefix}{missing[0]:05d}-of-{count:05d}; {len(missing)} are missing",
                change=f"copy all files of the prediction, or predict again; then --{flag}",
            )


def read_results(paths: Sequence[str], digests: dict[str, str] | None = None) -> Iterator[pa.Table]:
    """Yields the predictions in all lines of all files, as tables of prediction_columns.SCHEMA.

    Args:
      paths: the files.
      digests: gets the SHA-256 of each file that was read, by its path; None does not ask for them.

    Raises:
      DataError: a line is not what it should be, or a file cannot be read.
    """
    rows: list[_Row] = []
    for path in paths:
        for number, line in _lines(path, digests):
            try:
                rows.append(_parsed(line))
            except (ValueError, RecursionError) as error:
                raise _bad_line(path, number, line, error) from None
            if len(rows) == _ROWS_AT_ONCE:
                yield _table(rows)
                rows.clear()
    if rows:
        yield _table(rows)


def places_of(paths: Sequence[str], rows: Collection[int]) -> dict[int, Place]:
    """Where some rows stand, numbered from 0 through all files, in files that `read_results` has read."""
    found: dict[int, Place] = {}
    row = 0
    for path in paths:
        for number, line in _lines(path):
            if row in rows:
                found[row] = Place(path, number, _parsed(line)[0].encode("utf-8"))
            row += 1
    return found


def _lines(path: str, digests: dict[str, str] | None = None) -> Iterator[tuple[int, bytes]]:
    digest = hashlib.sha256()
    try:
        with storage.open_binary(path) as file:
            for number, line in enumerate(file, 1):
                digest.update(line)
                if line.strip():
                    yield number, line
    except OSError as error:
        raise DataError("A file cannot be read", asked=path, found=error.strerror or str(error)) from None
    if digests is not None:
        digests[path] = digest.hexdigest()


def _parsed(line: bytes) -> _Row:
    row = json.loads(line.decode("utf-8"))
    if not isinstance(row, dict):
        raise ValueError("it is not an object")
    if missing := [name for name in (IMAGE_ID, CLASS_INDEXES, PREDICTIONS) if name not in row]:
        raise ValueError(f"it has no {missing[0]}")
    image_id, classes, numbers = row[IMAGE_ID], row[CLASS_INDEXES], row[PREDICTIONS]
    if isinstance(image_id, list) and len(image_id) == 1:  # a batch of one, as some models of 2017 answered
        (image_id,), (classes,), (numbers,) = image_id, _one(classes), _one(numbers)
    if not isinstance(image_id, str) or not image_id:
        raise ValueError(f"its {IMAGE_ID} is not a text")
    image_id.encode("utf-8")  # half of a surrogate pair, which JSON can hold, is no text either
    if not _all(classes, lambda one: type(one) is int and 0 <= one <= _LARGEST_CLASS):
        raise ValueError(f"its {CLASS_INDEXES} are not a list of classes")
    if not _all(numbers, lambda one: type(one) in (int, float) and -_LARGEST <= one <= _LARGEST):
        raise ValueError(f"its {PREDICTIONS} are not a list of finite numbers")
    if len(classes) != len(numbers):
        raise ValueError(f"it has {len(classes)} {CLASS_INDEXES} and {len(numbers)} {PREDICTIONS}")
    return image_id, classes, list(map(float, numbers))  # Arrow takes no large integer for a float32


def _one(value: Any) -> Any:
    if not isinstance(value, list) or len(value) != 1:
        raise ValueError(f"its {IMAGE_ID} is a list of one, and the rest is not")
    return value


def _all(values: Any, right: Any) -> bool:
    return isinstance(values, list) and bool(values) and all(map(right, values))


def _bad_line(path: str, number: int, line: bytes, error: Exception) -> DataError:
    shown = line.strip()[:_SHOWN].decode("utf-8", "replace")
    reason = f"no JSON ({error})" if isinstance(error, json.JSONDecodeError) else str(error)
    return DataError(
        "A line of a batch prediction cannot be used",
        asked=f'an object with "{IMAGE_ID}", "{CLASS_INDEXES}" and "{PREDICTIONS}"',
        found=f"line {number} of {path}: {reason}: {shown}",
        change=f"predict again, or copy {os.path.basename(path)} anew",
    )


def _table(rows: Sequence[_Row]) -> pa.Table:
    columns = zip(*rows, strict=True)
    return pa.table([pa.array(values, field.type) for values, field in zip(columns, SCHEMA, strict=True)], SCHEMA)
