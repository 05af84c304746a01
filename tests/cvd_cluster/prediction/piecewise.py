"""Reads a file in pieces of any size, as a run does, without Ray and without a model."""

from __future__ import annotations

from dataclasses import dataclass, field

from cvd_cluster.prediction.input_files import InputFile, Piece, look_at
from cvd_cluster.prediction.piece_reader import PieceRecords, read_piece
from cvd_cluster.prediction.reading_plan import pieces_to_read_again
from estimators.records.record_bytes import GzipBytes, PlainBytes


@dataclass
class Read:
    """What was read of a file."""

    records: list[tuple[int, bytes]] = field(default_factory=list)  # (offset, bytes)
    damages: list[tuple[int, int]] = field(default_factory=list)  # (offset, bytes)
    reasons: list[str] = field(default_factory=list)
    read_again: int = 0


def read_in_pieces(path: str, piece_bytes: int) -> Read:
    """All records and damages of a file, in order."""
    file = look_at(path, piece_bytes)
    result = Read()
    pieces = _packed(file) if file.gzip else _plain(file, result)
    lost = None
    for number in range(len(pieces)):
        piece = pieces[number]
        if lost is not None and piece.first is not None:
            result.damages.append((lost.offset, piece.first - lost.offset))
            result.reasons.append(lost.reason)
            lost = None
        result.records += [(offset, piece.record(index)) for index, offset in enumerate(piece.offsets)]
        result.damages += [(damage.offset, damage.size) for damage in piece.damages]
        result.reasons += [damage.reason for damage in piece.damages]
        lost = piece.lost or lost
    if lost is not None:
        result.damages.append((lost.offset, (pieces[len(pieces) - 1].eof or 0) - lost.offset))
        result.reasons.append(lost.reason)
    return result


def _plain(file: InputFile, result: Read) -> dict[int, PieceRecords]:
    with open(file.path, "rb") as opened:
        source = PlainBytes(opened, file.size)
        pieces = {number: read_piece(source, file.piece(0, number)) for number in range(file.pieces or 0)}
        while again := pieces_to_read_again([file], [pieces]):
            for piece in again:
                result.read_again += 1
                pieces[piece.number] = read_piece(source, piece)
    return pieces


def _packed(file: InputFile) -> dict[int, PieceRecords]:
    pieces: dict[int, PieceRecords] = {}
    start: int | None = 0
    with open(file.path, "rb") as opened:
        source = GzipBytes(opened)
        while not pieces or pieces[len(pieces) - 1].eof is None:
            piece = file.piece(0, len(pieces))
            source.keep_from = piece.end
            found = read_piece(source, Piece(0, piece.number, piece.begin, piece.end, start))
            pieces[piece.number] = found
            start = found.end if found.first is not None or start is None else start
    return pieces
