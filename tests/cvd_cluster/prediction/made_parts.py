"""Input files with their parts, made without Ray and without a model: class 1 where a record's number is odd."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from cvd_cluster.prediction.finished_parts import FinishedParts
from cvd_cluster.prediction.input_files import InputFile, look_at
from cvd_cluster.prediction.part_columns import part_of, to_bytes
from cvd_cluster.prediction.piece_columns import REPORT, PieceReport, to_table
from cvd_cluster.prediction.piece_reader import PieceRecords, read_piece
from cvd_cluster.prediction.reading_plan import pieces_to_read_again
from estimators.records.record_bytes import PlainBytes

MADE_WITH = {"model": "a digest", "batch_size": 128}
UNDECODABLE = b"undecodable"


def part_for(found: PieceRecords) -> pa.Table:
    """A record is its id; `undecodable…` has an error; a record that begins with a digit is of its class modulo 2."""
    report = PieceReport.from_json(to_table(found)[REPORT][0].as_py())
    ids = [found.record(index) for index in range(len(found.offsets))]
    odd = np.array([int(one[:1].isdigit() and int(one[:1]) % 2) for one in ids], np.int32)
    return part_of(
        report,
        found.offsets,
        np.array(found.sizes, np.int64) + 16,
        ids,
        np.stack([odd, 1 - odd], axis=1).reshape(-1, 2).astype(np.int32),
        np.tile(np.array([0.75, 0.25], np.float32), (len(ids), 1)),
        ["Invalid JPEG data" if one.startswith(UNDECODABLE) else None for one in ids],
    )


def look_at_all(paths: Sequence[str | Path], piece_bytes: int) -> list[InputFile]:
    return [look_at(str(path), piece_bytes) for path in paths]


def finish(files: Sequence[InputFile], parts: FinishedParts) -> None:
    """Adds all parts that are missing."""
    for index, file in enumerate(files):
        for number in range(file.pieces or 0):
            if number not in parts.of_file[index]:
                _add(parts, file, index, number, None)
    while again := pieces_to_read_again(files, parts.of_file):
        for piece in again:
            _add(parts, files[piece.file], piece.file, piece.number, piece.start)


def _add(parts: FinishedParts, file: InputFile, index: int, number: int, start: int | None) -> None:
    with open(file.path, "rb") as opened:
        found = read_piece(PlainBytes(opened, file.size), file.piece(index, number, start))
        parts.add(to_bytes(part_for(found)))


def all_parts(
    folder: Path, paths: Sequence[str | Path], piece_bytes: int = 40
) -> tuple[list[InputFile], FinishedParts]:
    """The files, and all their parts in `folder`."""
    folder.mkdir(exist_ok=True)
    files = look_at_all(paths, piece_bytes)
    parts = FinishedParts(str(folder), files, MADE_WITH)
    finish(files, parts)
    return files, parts
