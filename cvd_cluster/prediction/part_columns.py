"""A part: what became of the records of one piece, as an Arrow table that is kept in a file of its own."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from cvd_cluster.prediction.piece_columns import PieceReport
from cvd_cluster.prediction.piece_reader import Damage
from estimators.submission import prediction_columns as prediction
from estimators.submission.unique_ids import hashes_of

OFFSET, SIZE, ERROR, HASH = "offset", "size", "error", "hash"
# In the order of the file. A row without an error has an id and a prediction; one with an error may have an id.
SCHEMA = pa.schema(
    [
        (OFFSET, pa.int64()),  # where it begins in its file
        (SIZE, pa.int64()),  # its bytes
        *prediction.SCHEMA,
        (ERROR, pa.string()),  # why there is no prediction; null if there is one
        (HASH, pa.uint64()),  # of the id, see unique_ids; null where there is none
    ]
)
_REPORT, _WIDTH = b"report", b"width"
_DIGEST_BYTES = 8


def part_of(
    report: PieceReport,
    offsets: Any,
    sizes: Any,
    ids: Sequence[bytes],
    classes: npt.NDArray[np.int32],
    probabilities: npt.NDArray[np.float32],
    errors: Sequence[str | None],
) -> pa.Table:
    """The part of a piece.

    Args:
      report: of the piece.
      offsets: int64 [N], of its whole records.
      sizes: int64 [N].
      ids: N of them; b"" if it is not known.
      classes: [N, k], the likeliest first.
      probabilities: [N, k], of these classes.
      errors: N of them, None where there is a prediction.
    """
    count, width = classes.shape
    ends = np.arange(0, count * width + 1, max(width, 1), dtype=np.int32) if width else np.zeros(count + 1, np.int32)
    lists = [pa.ListArray.from_arrays(pa.array(ends), pa.array(values.ravel())) for values in (classes, probabilities)]
    texts, reasons = _texts(ids, errors)
    hashes = pa.array(hashes_of(ids), pa.uint64())
    columns = [offsets, sizes, texts, *lists, pa.array(reasons, pa.string()), hashes]
    columns = [_typed(column, field) for column, field in zip(columns, SCHEMA, strict=True)]
    table = pa.table(columns, SCHEMA)
    bad = pc.is_valid(table[ERROR])
    if pc.any(bad).as_py():
        table = _without_predictions(table, bad)
    if report.damages:
        table = pa.concat_tables([table, *map(damage_row, report.damages)]).sort_by(OFFSET).combine_chunks()
    return table.replace_schema_metadata({_REPORT: report.to_json(), _WIDTH: str(width)})


def _typed(column: Any, field: Any) -> Any:
    array = column if isinstance(column, pa.Array) else pa.array(column)
    return array.cast(field.type)


def _texts(ids: Sequence[bytes], errors: Sequence[str | None]) -> tuple[Any, list[str | None]]:
    """Ids as text, null where they are none, with errors that say so."""
    reasons = list(errors)
    try:
        texts = pa.array(ids, pa.binary()).cast(pa.string())
    except pa.ArrowInvalid:
        texts = pa.array([_text(one) for one in ids], pa.string())
        for index in np.flatnonzero(pc.is_null(texts).to_numpy(zero_copy_only=False)):
            reasons[index] = f"its id is not UTF-8: {ids[index]!r}"
    for index in np.flatnonzero(pc.fill_null(pc.equal(texts, ""), False).to_numpy(zero_copy_only=False)):
        reasons[index] = reasons[index] or "it has no id"
    return pc.if_else(pc.equal(texts, ""), pa.scalar(None, pa.string()), texts), reasons


def _text(one: bytes) -> str | None:
    try:
        return one.decode("utf-8")
    except UnicodeDecodeError:
        return None


def _without_predictions(table: pa.Table, bad: Any) -> pa.Table:
    rows = table.to_pylist()
    for row, is_bad in zip(rows, bad.to_pylist(), strict=True):
        if is_bad:
            row[prediction.CLASS_INDEXES], row[prediction.PREDICTIONS] = [], []
        if row[prediction.IMAGE_ID] is None:
            row[HASH] = None
    return pa.Table.from_pylist(rows, SCHEMA)


def damage_row(damage: Damage) -> pa.Table:
    """The row of a part for damage between or in records."""
    row = {OFFSET: damage.offset, SIZE: damage.size, ERROR: damage.reason}
    row |= {prediction.CLASS_INDEXES: [], prediction.PREDICTIONS: []}
    return pa.Table.from_pylist([row], SCHEMA)


def report_of(table_or_schema: Any) -> PieceReport:
    """The report of the piece that a part was made of.

    Raises:
      ValueError: it is no part.
    """
    schema = getattr(table_or_schema, "schema", table_or_schema)
    text = (schema.metadata or {}).get(_REPORT)
    if text is None or not schema.equals(SCHEMA):
        raise ValueError("not a part")
    return PieceReport.from_json(text.decode("utf-8"))


def to_bytes(part: pa.Table) -> bytes:
    """The part as it stands in its file: an Arrow file, and a digest of that, which Arrow has none of."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, part.schema) as writer:
        writer.write_table(part)
    data: bytes = sink.getvalue().to_pybytes()
    return data + _digest(data)


def from_bytes(data: bytes) -> pa.Table:
    """What `to_bytes` made; its columns are views of `data`.

    Raises:
      ValueError: it is not whole, or has other bytes.
    """
    arrow = memoryview(data)[:-_DIGEST_BYTES]
    if data[-_DIGEST_BYTES:] != _digest(arrow):
        raise ValueError("a part with other bytes than were written")
    return pa.ipc.open_file(pa.py_buffer(arrow)).read_all()


def _digest(data: bytes | memoryview) -> bytes:
    return hashlib.blake2b(data, digest_size=_DIGEST_BYTES).digest()


def width_of(table: pa.Table) -> int:
    """How many classes the model gives for a picture; 0 if no record went through it."""
    return int((table.schema.metadata or {}).get(_WIDTH, b"0"))
