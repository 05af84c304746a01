"""Writes records into the shards of a split: `train/train-00000-of-00004` …"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable

from estimators import storage
from estimators.tfrecord_framing import shard_name, write_record


def shard_sizes(num_records: int, num_shards: int) -> list[int]:
    """How many records each shard holds: none is empty, and no two differ by more than one."""
    count = min(num_shards, num_records)
    return [(num_records * (i + 1)) // count - (num_records * i) // count for i in range(count)]


def write_split(folder: str, split: str, records: Iterable[bytes], num_records: int, num_shards: int) -> None:
    """Writes the first `num_records` of `records`, in their order, into `folder/split/split-*`."""
    storage.make_dirs(os.path.join(folder, split))
    sizes, remaining = shard_sizes(num_records, num_shards), iter(records)
    for index, size in enumerate(sizes):
        path = os.path.join(folder, split, shard_name(split, index, len(sizes)))
        with storage.written_whole(path) as file:
            for record in itertools.islice(remaining, size):
                write_record(file, record)
