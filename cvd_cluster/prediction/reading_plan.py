"""Which pieces are to be read, by which Ray task; and which of them have to be read again. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from cvd_cluster.prediction.input_files import InputFile, Piece

# A task of Ray's costs some milliseconds; this many are enough to divide the work evenly.
_TASKS_WANTED = 256


@dataclass(frozen=True)
class ReadingTask:
    """What one Ray task reads: pieces of one file.

    Attributes:
      file: the index of the file.
      pieces: which pieces; () if the file is packed.
      packed: True if the file is packed: then all of it is read.
      finished: numbers of pieces that are not wanted of it.
    """

    file: int
    pieces: tuple[Piece, ...] = ()
    packed: bool = False
    finished: frozenset[int] = frozenset()


class Seam(Protocol):
    """Where a piece's records begin and end; see PieceRecords."""

    @property
    def first(self) -> int | None:
        """Where its first record begins."""

    @property
    def end(self) -> int | None:
        """Where the record after its last one begins."""

    @property
    def eof(self) -> int | None:
        """The bytes of the file, if it ends in this piece."""


def reading_tasks(files: Sequence[InputFile], finished: Sequence[Mapping[int, Seam]]) -> list[ReadingTask]:
    """What is left to be read.

    Args:
      files: the input files.
      finished: for each file, its pieces that are finished, by their number.
    """
    pending = sum(file.pieces - len(done) for file, done in zip(files, finished, strict=True) if file.pieces)
    together = max(1, min(16, pending // _TASKS_WANTED))
    tasks: list[ReadingTask] = []
    for index, (file, done) in enumerate(zip(files, finished, strict=True)):
        if file.pieces is None:
            if not is_complete(file, done):
                tasks.append(ReadingTask(index, packed=True, finished=frozenset(done)))
            continue
        numbers = [number for number in range(file.pieces) if number not in done]
        for at in range(0, len(numbers), together):
            pieces = tuple(file.piece(index, number) for number in numbers[at : at + together])
            tasks.append(ReadingTask(index, pieces))
    return tasks


def is_complete(file: InputFile, finished: Mapping[int, Seam]) -> bool:
    """True if no piece of the file is missing."""
    if file.pieces is not None:
        return len(finished) == file.pieces
    return any(
        seam.eof is not None and all(before in finished for before in range(number))
        for number, seam in finished.items()
    )


def pieces_to_read_again(files: Sequence[InputFile], finished: Sequence[Mapping[int, Seam]]) -> list[Piece]:
    """The pieces that began elsewhere than where the piece before them ended: of each file the first.

    Args:
      files: the input files, of which no piece is missing.
      finished: for each file, its pieces by their number.
    """
    found = []
    for index, (file, done) in enumerate(zip(files, finished, strict=True)):
        if file.pieces is not None:
            number, begin = _joined(file, done)
            if number < file.pieces:
                found.append(file.piece(index, number, start=begin))
    return found


def is_sure(file: InputFile, finished: Mapping[int, Seam], number: int) -> bool:
    """True if a piece that is finished is one of those that will not be read again.

    It is when all pieces before it are finished too and each begins where the one before it ended. A packed file is
    read from its beginning on, so none of its pieces begins at a wrong place.

    Args:
      file: the file.
      finished: its pieces that are finished, by their number.
      number: of the piece.
    """
    return file.pieces is None or number < _joined(file, finished)[0]


def _joined(file: InputFile, finished: Mapping[int, Seam]) -> tuple[int, int | None]:
    """How many of a file's first pieces are sure, and where the next record begins; None if that is not known."""
    begin: int | None = 0
    for number in range(file.pieces or 0):
        seam, end = finished.get(number), file.piece(0, number).end
        if seam is None or (begin is not None and seam.first != (begin if begin < end else None)):
            return number, begin
        if seam.first is not None:
            begin = seam.end
    return file.pieces or 0, begin
