"""All rows of a run in the order of the sorted input files and their records, out of its parts, one part at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from cvd_cluster.prediction.finished_parts import FinishedPart, FinishedParts
from cvd_cluster.prediction.input_files import InputFile
from cvd_cluster.prediction.part_columns import damage_row, report_of
from cvd_cluster.prediction.piece_reader import Damage
from estimators.errors import InfrastructureError


class Rows(NamedTuple):
    """Some rows that follow one another.

    Attributes:
      file: the index of their file.
      first_row: the number of the first of them in that file, from 0.
      table: of part_columns.SCHEMA.
    """

    file: int
    first_row: int
    table: Any


def rows_in_order(files: Sequence[InputFile], parts: FinishedParts) -> Iterator[Rows]:
    """Yields all rows, numbered; damage that reaches over the end of a piece becomes a row where it began.

    Raises:
      InfrastructureError: a part is missing.
    """
    for index, file in enumerate(files):
        finished = parts.of_file[index]
        row, lost = 0, None
        for number in _numbers(file, finished):
            part = finished[number]
            if lost is not None and part.first is not None:
                yield Rows(index, row, damage_row(Damage(lost.offset, part.first - lost.offset, lost.reason)))
                row, lost = row + 1, None
            if part.rows or part.lost:
                table = parts.read(index, number)
                if table.num_rows:
                    yield Rows(index, row, table)
                    row += table.num_rows
                lost = report_of(table).lost or lost
        if lost is not None:
            eof = finished[max(finished)].eof or lost.offset
            yield Rows(index, row, damage_row(Damage(lost.offset, eof - lost.offset, lost.reason)))


def rows_of(parts: FinishedParts) -> int:
    """How many rows there are, counted from what the readers said."""
    gaps = sum(1 for finished in parts.of_file for part in finished.values() if part.lost)
    return parts.rows + gaps


def _numbers(file: InputFile, finished: dict[int, FinishedPart]) -> range:
    count = len(finished) if file.pieces is None else file.pieces
    missing = [number for number in range(count) if number not in finished]
    if missing or (file.pieces is None and (not count or finished[count - 1].eof is None)):
        raise InfrastructureError(
            "Predictions are missing",
            found=f"{len(missing) or 1} pieces of {file.path} have none",
            change="run the command again; what is predicted is kept",
        )
    return range(count)
