"""The bytes of a file of records by their offset: of a plain file, or of what is packed in one by gzip."""

from __future__ import annotations

import sys
import zlib
from typing import IO, Any, Protocol

from estimators import storage
from estimators.records.tfrecord_framing import HEADER_BYTES, read_header

_GZIP_MAGIC = b"\x1f\x8b\x08"
_PACKED_AT_ONCE = 1 << 14


class RecordBytes(Protocol):
    """Bytes that are read by offset.

    Attributes:
      size: how many there are; None if nobody knows before they are read.
      broken: why no more can be read although more should be there; None as long as nothing is wrong.
    """

    size: int | None
    broken: str | None

    def read_at(self, offset: int, size: int) -> bytes:
        """Up to `size` bytes from `offset` on; fewer only at the end."""


def is_gzip(path: str) -> bool:
    """True if the file begins as gzip's do, and not with a record of just that length: its checksum tells."""
    with storage.open_binary(path) as file:
        header = file.read(HEADER_BYTES)
    return header.startswith(_GZIP_MAGIC) and bool(read_header(header)[1])


class PlainBytes:
    """The bytes of a file as they are.

    Args:
      file: open for reading.
      size: its bytes.
    """

    broken: str | None = None

    def __init__(self, file: IO[bytes], size: int) -> None:
        self.size: int | None = size
        self._file = file

    def read_at(self, offset: int, size: int) -> bytes:
        """See RecordBytes."""
        self._file.seek(offset)
        return self._file.read(size)


class GzipBytes:
    """The bytes that a gzip file unpacks to, of one or several members; best read in the order of their offsets.

    Args:
      file: open for reading.

    Attributes:
      keep_from: what lies from here on is read again, and kept: unpacking begins at the start of the file only.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self.size: int | None = None
        self.keep_from = sys.maxsize
        self.broken: str | None = None
        self._file = file
        self._rewind()

    def _rewind(self) -> None:
        self._file.seek(0)
        self.broken = None
        self._begin, self._held = 0, b""
        self._member, self._packed, self._ended = _new_member(), b"", False

    def read_at(self, offset: int, size: int) -> bytes:
        """See RecordBytes."""
        if offset < self._begin:
            self._rewind()
        self._hold(offset, offset + size)
        return self._held[offset - self._begin : offset - self._begin + size]

    def _hold(self, begin: int, end: int) -> None:
        """Holds the bytes from `begin` to `end`, and forgets those before that nobody will ask for."""
        keep = min(begin, self.keep_from)
        parts = [self._held]
        at = self._begin + len(self._held)
        while at < end and not self._ended:
            part = self._next()
            if at <= keep:  # all before is forgotten
                parts, self._begin = [], at
            parts.append(part)
            at += len(part)
        held = b"".join(parts)
        forgotten = min(max(0, keep - self._begin), len(held))
        self._held, self._begin = held[forgotten:], self._begin + forgotten

    def _next(self) -> bytes:
        """Some bytes that follow, b"" at times; sets `_ended` at the end, and `broken` if that comes too early."""
        packed = self._packed or self._file.read(_PACKED_AT_ONCE)
        self._packed = b""
        if not packed:
            self._ended = True
            if not self._member.eof:
                self.broken = "the gzip file is cut short"
            return b""
        if self._member.eof:  # another member may follow, or the zeros that fill up a tape
            packed = packed.lstrip(b"\0")
            if not packed:
                return b""
            self._member = _new_member()
        before = self._member.copy()
        try:
            data: bytes = self._member.decompress(packed)
        except zlib.error:
            return self._until_damage(before, packed)
        self._packed = self._member.unused_data
        return data

    def _until_damage(self, member: Any, packed: bytes) -> bytes:
        parts = []
        try:
            for index in range(len(packed)):
                parts.append(member.decompress(packed[index : index + 1]))
        except zlib.error as error:
            self._ended, self.broken = True, f"the gzip file is damaged: {error}"
        return b"".join(parts)


def _new_member() -> Any:
    return zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)  # 16: with the header and the checksum of gzip
