"""Writes records into the shards of a split: `train/train-00000-of-00004` …"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import IO

from estimators import storage
from estimators.records.tfrecord_framing import framed, shard_name


@dataclass(frozen=True)
class WrittenShard:
    """A finished shard.

    Attributes:
      path: relative to the data set's folder, e.g. train/train-00000-of-00004.
      examples: records in it.
      size: its bytes.
      sha256: of all its bytes, in hexadecimal digits.
    """

    path: str
    examples: int
    size: int
    sha256: str


class ShardFile:
    """A shard under way; made by `new_shard`."""

    def __init__(self, path: str, file: IO[bytes]) -> None:
        self._path, self._file = path, file
        self._digest = hashlib.sha256()
        self._examples = self._size = 0

    def write(self, record: bytes) -> None:
        """Appends one record."""
        data = framed(record)
        self._file.write(data)
        self._digest.update(data)
        self._examples += 1
        self._size += len(data)

    def written(self) -> WrittenShard:
        """What was written so far."""
        return WrittenShard(self._path, self._examples, self._size, self._digest.hexdigest())


@contextlib.contextmanager
def new_shard(folder: str, path: str) -> Iterator[ShardFile]:
    """A shard `folder/path` that appears when the block ends without an error; its folder must exist."""
    with storage.written_whole(os.path.join(folder, path)) as file:
        yield ShardFile(path, file)


def shard_sizes(num_records: int, num_shards: int) -> list[int]:
    """How many records each shard holds: none is empty, and no two differ by more than one."""
    count = min(num_shards, num_records)
    return [(num_records * (i + 1)) // count - (num_records * i) // count for i in range(count)]


def shard_path(split: str, index: int, count: int) -> str:
    """Where shard `index` of `count` of a split lies in the data set's folder."""
    return f"{split}/{shard_name(split, index, count)}"


def write_split(
    folder: str, split: str, records: Iterable[bytes], num_records: int, num_shards: int
) -> list[WrittenShard]:
    """Writes the first `num_records` of `records`, in their order, into `folder/split/split-*`."""
    storage.make_dirs(os.path.join(folder, split))
    sizes, remaining = shard_sizes(num_records, num_shards), iter(records)
    finished = []
    for index, size in enumerate(sizes):
        with new_shard(folder, shard_path(split, index, len(sizes))) as shard:
            for record in itertools.islice(remaining, size):
                shard.write(record)
        finished.append(shard.written())
    return finished
