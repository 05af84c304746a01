"""The input files of a prediction run, and the pieces that they are read in."""

from __future__ import annotations

from dataclasses import dataclass

from estimators import storage
from estimators.processes.process_identity import this_place
from estimators.records.record_bytes import is_gzip

# What is read, predicted and kept as one: a few hundred photos. Large enough that Ray's work for it, 25 ms of a
# processor, counts little; small enough that the pieces in flight fit into memory and that a run which is cut off loses
# little. With what a reader takes from behind it, it stays below the 32 MiB of processes/kept_memory.py.
PIECE_BYTES = 31 << 20


@dataclass(frozen=True)
class Piece:
    """A range of bytes of a file: all records that begin in it.

    Attributes:
      file: the index of its file.
      number: its place among the pieces of that file, from 0.
      begin: its first byte; of a gzip file, among the unpacked bytes.
      end: the byte after its last.
      start: where the first record is known to begin; None if the reader has to find it.
    """

    file: int
    number: int
    begin: int
    end: int
    start: int | None = None


@dataclass(frozen=True)
class InputFile:
    """One input file.

    Attributes:
      path: the file.
      size: its bytes.
      identity: what changes when its bytes change, as this machine sees it: another one may have mounted the folder
        with inodes of its own.
      modified_ns: when it was written, as all see it.
      place: of the process that looked; see process_identity.py.
      gzip: True if it is packed; then it is read by one reader, and nobody knows its pieces before.
      piece_bytes: bytes a piece, of the unpacked ones if it is packed.
    """

    path: str
    size: int
    identity: str
    modified_ns: int
    place: str
    gzip: bool
    piece_bytes: int = PIECE_BYTES

    @property
    def pieces(self) -> int | None:
        """How many pieces it has; None if it is packed."""
        return None if self.gzip else -(-self.size // self.piece_bytes)

    def piece(self, file: int, number: int, start: int | None = None) -> Piece:
        """One of its pieces.

        Args:
          file: the index of this file.
          number: which piece.
          start: see Piece.
        """
        begin = number * self.piece_bytes
        end = begin + self.piece_bytes
        return Piece(file, number, begin, end if self.gzip else min(end, self.size), start if number else 0)


def look_at(path: str, piece_bytes: int = PIECE_BYTES) -> InputFile:
    """Finds out what is to be known of a file before it is read.

    Raises:
      OSError: it cannot be read.
    """
    # The size last: if the file grows meanwhile, whoever reads it finds another identity.
    identity, modified_ns = storage.identity(path), storage.modified_ns(path)
    return InputFile(path, storage.size(path), identity, modified_ns, this_place(), is_gzip(path), piece_bytes)
