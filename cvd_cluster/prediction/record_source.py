"""TFRecord files as a Ray Data source.

`ray.data.read_tfrecords` checks no checksum and parses every record in Python; here a record stays the bytes it is,
both checksums are verified, and each row knows its place: the file it is from and its number in it.

Imported in Ray's workers, so without TensorFlow.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa
from ray.data import Datasource, ReadTask
from ray.data.block import BlockMetadata

from cvd_cluster.prediction.record_columns import RECORD, ROW, SHARD
from cvd_cluster.prediction.shards import Shard
from estimators.tfrecord_framing import read_records

_TABLE_BYTES = 1 << 20
SCHEMA = pa.schema([(SHARD, pa.int32()), (ROW, pa.int64()), (RECORD, pa.large_binary())])


class RecordSource(Datasource):  # type: ignore[misc]  # Ray ships no types that mypy accepts
    """One read task for each file, so that a block never holds rows of two files.

    Args:
      shards: the files; a row's `shard` is an index into this.
    """

    def __init__(self, shards: Sequence[Shard]) -> None:
        super().__init__()
        self._shards = shards

    def get_name(self) -> str:
        """The name in Ray's own logs."""
        return "TFRecord"

    def estimate_inmemory_data_size(self) -> int | None:
        """Bytes of all files."""
        return sum(shard.size_bytes for shard in self._shards)

    def get_read_tasks(
        self, parallelism: int, per_task_row_limit: int | None = None, data_context: Any = None
    ) -> list[Any]:
        """One task for each file that holds records, whatever `parallelism` Ray would like."""
        return [
            ReadTask(
                functools.partial(read_tables, index, shard.path),
                BlockMetadata(
                    num_rows=shard.records, size_bytes=shard.size_bytes, input_files=[shard.path], exec_stats=None
                ),
                schema=SCHEMA,
                per_task_row_limit=per_task_row_limit,
            )
            for index, shard in enumerate(self._shards)
            if shard.records
        ]


def read_tables(shard: int, path: str, *, table_bytes: int = _TABLE_BYTES) -> Iterator[pa.Table]:
    """Yields the records of one file as tables of SCHEMA, which Ray Data joins to blocks.

    Args:
      shard: what goes into the column of that name.
      path: the file.
      table_bytes: a table ends with the record that makes it as large as this.

    Raises:
      DamagedRecordError: a checksum is wrong or the file is cut short.
    """
    first_row, records, held_bytes = 0, list[bytes](), 0
    for _, record in read_records(path):
        records.append(record)
        held_bytes += len(record)
        if held_bytes >= table_bytes:
            yield _table(shard, first_row, records)
            first_row, records, held_bytes = first_row + len(records), [], 0
    if records:
        yield _table(shard, first_row, records)


def _table(shard: int, first_row: int, records: list[bytes]) -> pa.Table:
    rows = list(range(first_row, first_row + len(records)))
    columns = [
        pa.array([shard] * len(rows), pa.int32()),
        pa.array(rows, pa.int64()),
        pa.array(records, pa.large_binary()),
    ]
    return pa.table(columns, schema=SCHEMA)
