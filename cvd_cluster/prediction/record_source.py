"""TFRecord files as a Ray Data source.

`ray.data.read_tfrecords` checks no checksum and parses every record in Python; here a record stays the bytes it is,
both checksums are verified, and a large file is read by many tasks, a piece each.

Imported in Ray's workers, so without TensorFlow.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa
from ray.data import Datasource, ReadTask
from ray.data.block import BlockMetadata

from cvd_cluster.prediction.input_files import InputFile, Piece
from cvd_cluster.prediction.piece_columns import SCHEMA, to_table
from cvd_cluster.prediction.piece_reader import read_piece
from cvd_cluster.prediction.reading_plan import ReadingTask
from estimators import storage
from estimators.errors import DataError, InfrastructureError
from estimators.processes.kept_memory import keep_freed_memory
from estimators.processes.process_identity import this_place
from estimators.records.record_bytes import GzipBytes, PlainBytes


class RecordSource(Datasource):  # type: ignore[misc]  # Ray ships no types that mypy accepts
    """Read tasks of one or several pieces; each piece becomes a row.

    Args:
      files: the input files; a piece's `file` is an index into this.
      tasks: what is to be read, a Ray task each.
    """

    def __init__(self, files: Sequence[InputFile], tasks: Sequence[ReadingTask]) -> None:
        super().__init__()
        self._files, self._tasks = files, tasks

    def get_name(self) -> str:
        """The name in Ray's own logs."""
        return "TFRecord"

    def estimate_inmemory_data_size(self) -> int | None:
        """Bytes of all that is read."""
        return sum(self._bytes(task) for task in self._tasks)

    def get_read_tasks(
        self, parallelism: int, per_task_row_limit: int | None = None, data_context: Any = None
    ) -> list[Any]:
        """The tasks as they were planned, whatever `parallelism` Ray would like."""
        return [
            ReadTask(
                functools.partial(read_tables, self._files[task.file], task),
                BlockMetadata(
                    num_rows=None if task.packed else len(task.pieces),
                    size_bytes=self._bytes(task),
                    input_files=[self._files[task.file].path],
                    exec_stats=None,
                ),
                schema=SCHEMA,
                per_task_row_limit=per_task_row_limit,
            )
            for task in self._tasks
        ]

    def _bytes(self, task: ReadingTask) -> int:
        file = self._files[task.file]
        return file.size if task.packed else sum(piece.end - piece.begin for piece in task.pieces)


def read_tables(file: InputFile, task: ReadingTask) -> Iterator[pa.Table]:
    """Yields a table of piece_columns.SCHEMA for each piece of a task.

    Raises:
      DataError: the file cannot be read, or is another one than it was.
      InfrastructureError: its disk or its store failed.
    """
    keep_freed_memory()
    try:
        identity = _check_is_unchanged(file)
        with storage.open_binary(file.path) as opened:
            if task.packed:
                tables = _unpacked(GzipBytes(opened), file, task)
            else:
                tables = (to_table(read_piece(PlainBytes(opened, file.size), piece)) for piece in task.pieces)
            for table in tables:
                if storage.identity(file.path) != identity:  # what was read is of the file that was meant
                    raise _was_written(file)
                yield table
    except OSError as error:
        kind = InfrastructureError if storage.has_failed(error) else DataError
        raise kind(
            "An input file cannot be read any more",
            found=f"{file.path}: {error.strerror or error}",
            change="bring the file back and run the command again: it goes on with what is missing",
        ) from None


def _check_is_unchanged(file: InputFile) -> str:
    """The identity of a file here.

    Raises:
      DataError: it is not what it was when the run began, as far as that is seen from here.
    """
    identity = storage.identity(file.path)
    # Elsewhere a file has an inode of its own on FUSE mounts, gcsfuse for one.
    if file.place == this_place():
        unchanged = identity == file.identity
    else:
        unchanged = (storage.size(file.path), storage.modified_ns(file.path)) == (file.size, file.modified_ns)
    if not unchanged:
        raise _was_written(file)
    return identity


def _was_written(file: InputFile) -> DataError:
    return DataError(
        "An input file was written while it was read",
        found=file.path,
        change="run the command again when nobody writes to it; what it found in other files is kept",
    )


def _unpacked(source: GzipBytes, file: InputFile, task: ReadingTask) -> Iterator[pa.Table]:
    start: int | None = 0
    number = 0
    while True:
        piece = file.piece(task.file, number)
        source.keep_from = piece.end  # the last record of this piece may end far in the next one
        found = read_piece(source, Piece(piece.file, number, piece.begin, piece.end, start))
        if number not in task.finished:
            yield to_table(found)
        if found.eof is not None:
            return
        if found.first is not None or start is None:
            start = found.end
        number += 1
