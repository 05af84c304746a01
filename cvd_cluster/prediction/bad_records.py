"""What becomes of records without a prediction: the run ends, they are left out and listed, or a default is written."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from cvd_cluster.prediction.files_beside import QUARANTINE_HEADER, quarantine_path
from cvd_cluster.prediction.input_files import InputFile
from cvd_cluster.prediction.ordered_rows import Rows
from cvd_cluster.prediction.part_columns import ERROR, OFFSET, SCHEMA, SIZE, width_of
from cvd_cluster.prediction.prediction_options import DEFAULT, FAIL
from estimators import storage
from estimators.errors import DataError, UserError
from estimators.submission.prediction_columns import CLASS_INDEXES, IMAGE_ID, PREDICTIONS
from estimators.submission_format import csv_field
from estimators.train_dir.exports import MOST_CLASSES


def bad_record_error(path: str, row: dict[str, Any]) -> DataError:
    """The error for a record that cannot be predicted.

    Args:
      path: its file.
      row: of part_columns.SCHEMA.
    """
    name = f" ({row[IMAGE_ID]})" if row[IMAGE_ID] else ""
    return DataError(
        "A record cannot be predicted",
        found=f"{path}, record at byte {row[OFFSET]}{name}: {row[ERROR]}",
        change="mend or remove that record; or --on_bad_record=quarantine leaves bad records out and lists them, "
        "--on_bad_record=default writes --default_category for them. What is predicted already is kept",
    )


@dataclass
class BadRecords:
    """Divides rows into those that are written and those that are not.

    Attributes:
      files: the input files.
      policy: fail, quarantine or default.
      default_category: the class for `default`.
      quarantined: how many were left out.
      defaulted: how many got the default.
    """

    files: Sequence[InputFile]
    policy: str
    default_category: int
    quarantined: int = 0
    defaulted: int = 0

    def divide(self, rows: Rows) -> tuple[pa.Table, bytes]:
        """The rows that are written, and the lines of the quarantine for the others.

        Raises:
          DataError: there are others, and the policy is to fail.
          UserError: the model knows no such class as the default.
        """
        table = rows.table
        if table[ERROR].null_count == table.num_rows:
            return table, b""
        bad = pc.is_valid(table[ERROR])
        if self.policy == FAIL:
            (first,) = table.filter(bad).slice(0, 1).to_pylist()
            raise bad_record_error(self.files[rows.file].path, first)
        if self.policy == DEFAULT:
            table = self._with_defaults(table)
            bad = pc.is_valid(table[ERROR])
        return table.filter(pc.invert(bad)), self._lines(rows, table, bad)

    def _with_defaults(self, table: pa.Table) -> pa.Table:
        width, category = width_of(table), self.default_category
        chosen = table.to_pylist()
        for row in chosen:
            if row[ERROR] is not None and row[IMAGE_ID] is not None:
                self._check_category(width)
                others = [one for one in range(width) if one != category][: width - 1]
                row[CLASS_INDEXES], row[PREDICTIONS] = [category, *others], [1.0, *(0.0 for _ in others)]
                row[ERROR] = None
                self.defaulted += 1
        return pa.Table.from_pylist(chosen, SCHEMA)

    def _check_category(self, width: int) -> None:
        # With fewer than an export may hold it is known that these are all.
        if self.default_category >= width and width < MOST_CLASSES:
            raise UserError(
                "The model knows no such class",
                asked=f"--default_category={self.default_category}",
                found=f"its classes are 0 to {width - 1}",
                change="--default_category; what is predicted already is kept",
            )

    def _lines(self, rows: Rows, table: pa.Table, bad: Any) -> bytes:
        lines = []
        path = self.files[rows.file].path
        numbers = np.flatnonzero(bad.to_numpy()) + rows.first_row
        for number, row in zip(numbers, table.filter(bad).to_pylist(), strict=True):
            fields = (path, number, row[OFFSET], row[SIZE], row[IMAGE_ID] or "", row[ERROR])
            lines.append(",".join(csv_field(str(one)) for one in fields) + "\n")
            self.quarantined += 1
        return "".join(lines).encode("utf-8", "backslashreplace")


class Quarantine:
    """The list of what was left out.

    Args:
      open_file: opens it for writing, once there is something to write.
      publish: has what was written appear; to be called when the output itself is complete, and before it appears:
        nobody sees an output without the list of what it lacks.
      keep: to be called when the output has appeared, where more is to be done that may fail.
    """

    def __init__(
        self,
        open_file: Callable[[], IO[bytes]],
        publish: Callable[[], None] = lambda: None,
        keep: Callable[[], object] = lambda: None,
    ) -> None:
        self._open_file, self.publish, self.keep = open_file, publish, keep
        self._file: IO[bytes] | None = None

    @property
    def is_empty(self) -> bool:
        """True if nothing was written."""
        return self._file is None

    def write(self, lines: bytes) -> None:
        """Adds lines."""
        if not lines:
            return
        if self._file is None:
            self._file = self._open_file()
            self._file.write(QUARANTINE_HEADER)
        self._file.write(lines)


@contextlib.contextmanager
def quarantine(output: str) -> Iterator[Quarantine]:
    """Writes `<output>.quarantine.csv`, which appears whole; where nothing is listed, there is none in the end.

    If the block fails after that, the list of the older output, which is still there, is again in its place. In a
    bucket it is lost: it would have to be copied away, and nobody deletes the copy of a run that is killed.
    """
    path = quarantine_path(output)
    local = not storage.is_remote(path)
    older = storage.hidden_partial(path) if local and storage.exists(path) else None
    with contextlib.ExitStack() as undo, contextlib.ExitStack() as stack:

        def publish() -> None:
            if local:
                undo.callback(_put_back, older, path)  # before it is moved: a signal may come between the two
            if older:
                storage.rename(path, older)
            stack.close()

        made = Quarantine(lambda: stack.enter_context(storage.written_whole(path)), publish, undo.pop_all)
        yield made
        made.keep()
    if older:
        with contextlib.suppress(OSError):  # it is hidden, and the next run deletes it
            storage.delete(older)
    elif not local and made.is_empty:
        storage.delete(path)  # that of an older output, which is replaced by now


def _put_back(older: str | None, path: str) -> None:
    if older is None:
        storage.delete(path)
    elif storage.exists(older):
        storage.rename(older, path)
