"""Reads the records of one piece of a file, whatever is damaged in it.

What a reader finds depends on the bytes of the file alone, not on where pieces begin: a record counts where it is whole
(both checksums are right), and after damage that hides where the next one begins, it is searched for. So many readers
find in their pieces what one would find who reads the file from its start. In two cases a piece by itself does not
show enough: records may be packed inside of a record, and the first record of a piece may be damaged. Both show at the
seam, where the piece before ends elsewhere than this one began; then it is read again, with its `start` told.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from cvd_cluster.prediction.input_files import Piece
from estimators.records.record_bytes import RecordBytes
from estimators.records.tfrecord_framing import FOOTER_BYTES, HEADER_BYTES, cut_short, data_flaw, read_header
from estimators.records.tfrecord_search import possible_headers

_FRAME_BYTES = HEADER_BYTES + FOOTER_BYTES
_READ_BEYOND = 1 << 18  # the last record of a piece ends behind it, as a rule by less than this
_SEARCHED_AT_ONCE = 1 << 20
_LONGEST_RECORD = (1 << 31) - 1  # bytes that protobuf parses


@dataclass(frozen=True)
class Damage:
    """Bytes that hold no usable record.

    Attributes:
      offset: where they begin in the file.
      size: how many.
      reason: what is wrong.
    """

    offset: int
    size: int
    reason: str


@dataclass
class PieceRecords:
    """What a piece holds.

    Attributes:
      piece: which.
      data: bytes of the file, up to the end of the last record.
      base: the offset of `data` in the file.
      offsets: where in the file each whole record begins, with its header.
      sizes: bytes of each record, without header and footer.
      damages: what else was met, in the order of the file.
      first: where its first record begins; None if none begins in it.
      end: where the record after its last one begins; None if that is not known, see `lost`.
      lost: damage after which no record begins in this piece; its size is that within the piece. None without it.
      eof: the bytes of the whole file, if it ends in this piece; None otherwise.
    """

    piece: Piece
    data: memoryview
    base: int
    offsets: list[int] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    damages: list[Damage] = field(default_factory=list)
    first: int | None = None
    end: int | None = None
    lost: Damage | None = None
    eof: int | None = None

    def record(self, index: int) -> bytes:
        """The bytes of one record."""
        begin = self.offsets[index] + HEADER_BYTES - self.base
        return bytes(self.data[begin : begin + self.sizes[index]])


class _Window:
    """Bytes of a file that are held, and grow when more are asked for."""

    def __init__(self, source: RecordBytes, base: int, size: int) -> None:
        self.source, self.base = source, base
        self.data = source.read_at(base, size)
        self._at_end = len(self.data) < size

    def get(self, offset: int, size: int) -> bytes:
        """Up to `size` bytes from `offset`, fewer only at the end of the file."""
        begin = offset - self.base
        missing = begin + size - len(self.data)
        if missing > 0 and not self._at_end:
            more = self.source.read_at(self.base + len(self.data), missing)
            self._at_end = len(more) < missing
            self.data += more
        return self.data[begin : begin + size]

    def ends_at(self, offset: int) -> bool:
        """True if there are no bytes from `offset` on."""
        return not self.get(offset, 1)


def read_piece(source: RecordBytes, piece: Piece) -> PieceRecords:
    """Reads all records that begin in the piece.

    Args:
      source: the bytes of the file.
      piece: which part of them.

    Raises:
      OSError: the file cannot be read.
    """
    window = _Window(source, piece.begin, piece.end - piece.begin + _READ_BEYOND)
    found = PieceRecords(piece, memoryview(b""), piece.begin)
    at = _search(window, piece.begin, piece.end) if piece.start is None else piece.start
    found.end = at
    if at is not None and at < piece.end:
        _read_on(window, at, found)
    if found.end is not None and source.broken and window.ends_at(found.end) and window.ends_at(piece.end):
        found.lost, found.end = Damage(found.end, 0, source.broken), None
    if found.offsets:
        found.data = memoryview(window.data)[: found.offsets[-1] + found.sizes[-1] + _FRAME_BYTES - piece.begin]
    if window.ends_at(piece.end):
        found.eof = window.base + len(window.data)
    return found


def _read_on(window: _Window, at: int, found: PieceRecords) -> None:
    found.first = at
    end = found.piece.end
    while at < end and not window.ends_at(at):
        size, wrong, place_is_known = _look_at(window, at)
        if not wrong:
            found.offsets.append(at)
            found.sizes.append(size - _FRAME_BYTES)
        elif place_is_known:
            found.damages.append(Damage(at, size, wrong))
        else:
            following = _search(window, at + 1, end)
            if following is None:
                found.end, found.lost = None, Damage(at, _end_within(window, end) - at, wrong)
                return
            found.damages.append(Damage(at, following - at, wrong))
            size = following - at
        at += size
    found.end = at


def _end_within(window: _Window, end: int) -> int:
    return min(end, window.base + len(window.data)) if window.ends_at(end) else end


def _look_at(window: _Window, at: int) -> tuple[int, str, bool]:
    """The bytes of the record at a place, with its frame; what is wrong, "" if nothing is; whether its end is sure."""
    header = window.get(at, HEADER_BYTES)
    length, flaw = read_header(header)
    if flaw:
        return 0, (len(header) < HEADER_BYTES and window.source.broken) or flaw, False
    if length > _LONGEST_RECORD:
        return 0, f"a record of {length} bytes, and {_LONGEST_RECORD} are the most", False
    size = length + _FRAME_BYTES
    known = window.source.size
    missing = at + size - known if known is not None else 0
    if missing <= 0:
        footer = window.get(at + HEADER_BYTES + length, FOOTER_BYTES)
        data = window.get(at + HEADER_BYTES, length)
        missing = length + FOOTER_BYTES - len(data) - len(footer)
    if missing > 0:
        return 0, window.source.broken or cut_short(length, missing), False
    flaw = data_flaw(data, footer)
    if not flaw:
        return size, "", True
    # Where bytes were lost or put in, the length is right and leads astray.
    following = window.get(at + size, HEADER_BYTES)
    sure = not following or possible_headers(following) == [0]
    return size, flaw, sure


def _search(window: _Window, begin: int, end: int) -> int | None:
    """The first place in a range where a whole record begins."""
    for at in range(begin, end, _SEARCHED_AT_ONCE):
        size = min(_SEARCHED_AT_ONCE, end - at)
        for place in possible_headers(window.get(at, size + HEADER_BYTES - 1)):
            if not _look_at(window, at + place)[1]:
                return at + place
    return None
