"""A piece as a row of a Ray Data block. A row, not a block: Ray Data may join and split blocks, but never a row."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from cvd_cluster.prediction.piece_reader import Damage, PieceRecords

REPORT, DATA, OFFSETS, SIZES = "report", "data", "offsets", "sizes"
SCHEMA = pa.schema(
    [
        (REPORT, pa.string()),  # a PieceReport
        (DATA, pa.large_binary()),  # bytes of the file, beginning at the report's base
        (OFFSETS, pa.list_(pa.int64())),  # where in the file each whole record begins
        (SIZES, pa.list_(pa.int64())),  # bytes of each record, without header and footer
    ]
)


@dataclass(frozen=True)
class PieceReport:
    """What is to be known of a piece when its records are gone; see PieceRecords.

    Attributes:
      file: the index of its file.
      number: its place among the pieces of the file.
      records: how many whole records begin in it.
      damages: what else was met.
      base: the offset of the row's `data` in the file.
    """

    file: int
    number: int
    records: int
    damages: tuple[Damage, ...]
    base: int
    first: int | None
    end: int | None
    lost: Damage | None
    eof: int | None

    @property
    def rows(self) -> int:
        """Rows of the part that is made of it: whole records, and one for each damage that ends in it."""
        return self.records + len(self.damages)

    def to_json(self) -> str:
        """As JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> PieceReport:
        """What `to_json` wrote."""
        values = json.loads(text)
        values["damages"] = tuple(Damage(**one) for one in values["damages"])
        values["lost"] = Damage(**values["lost"]) if values["lost"] else None
        return cls(**values)


def to_table(found: PieceRecords) -> pa.Table:
    """A table of SCHEMA with one row."""
    report = PieceReport(
        file=found.piece.file,
        number=found.piece.number,
        records=len(found.offsets),
        damages=tuple(found.damages),
        base=found.base,
        first=found.first,
        end=found.end,
        lost=found.lost,
        eof=found.eof,
    )
    data = pa.Array.from_buffers(  # without copying the bytes, as pa.array would
        pa.large_binary(), 1, [None, pa.array([0, len(found.data)], pa.int64()).buffers()[1], pa.py_buffer(found.data)]
    )
    columns: list[Any] = [
        pa.array([report.to_json()], pa.string()),
        data,
        pa.array([found.offsets], SCHEMA.field(OFFSETS).type),
        pa.array([found.sizes], SCHEMA.field(SIZES).type),
    ]
    return pa.table(columns, schema=SCHEMA)


def data_of(table: pa.Table, row: int) -> memoryview:
    """The bytes of the file that a row holds, where they are: a scalar of Arrow's would be a copy of them."""
    array = table[DATA].slice(row, 1).chunk(0)
    _, ends, data = array.buffers()
    begin, end = np.frombuffer(ends, np.int64, 2, array.offset * 8)
    return memoryview(data)[begin:end] if data is not None else memoryview(b"")
