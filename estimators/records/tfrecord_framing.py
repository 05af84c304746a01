"""The TFRecord file format, read and written without TensorFlow.

A record is framed as (https://www.tensorflow.org/tutorials/load_data/tfrecord#tfrecords_format_details)

    uint64 length | uint32 masked CRC32C of length | byte data[length] | uint32 masked CRC32C of data
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterator
from typing import IO

import google_crc32c

from estimators import storage
from estimators.errors import DataError

HEADER_BYTES = 12
FOOTER_BYTES = 4
MASK_DELTA = 0xA282EAD8


def masked_crc(data: bytes) -> int:
    """CRC32C of `data`, rotated and offset as TFRecord stores it."""
    crc: int = google_crc32c.value(data)
    return ((crc >> 15 | crc << 17) + MASK_DELTA) & 0xFFFFFFFF


def read_header(header: bytes) -> tuple[int, str]:
    """The length of a record's data, and what is wrong with its header, "" if nothing is.

    Args:
      header: HEADER_BYTES, or fewer where the file ends.
    """
    if len(header) < HEADER_BYTES:
        return 0, f"the file ends inside a record header ({len(header)} of {HEADER_BYTES} bytes)"
    length, crc = struct.unpack("<QI", header)
    return int(length), "" if crc == masked_crc(header[:8]) else "the checksum of the record's length is wrong"


def cut_short(length: int, missing: int) -> str:
    """What is wrong with a record of which some bytes behind its header are missing."""
    return f"the record is cut short: {missing} of its {length + FOOTER_BYTES} bytes are missing"


def data_flaw(data: bytes, footer: bytes) -> str:
    """What is wrong with a record's data, by the checksum behind it; "" if nothing is."""
    return "" if footer == struct.pack("<I", masked_crc(data)) else "the checksum of the record's data is wrong"


class DamagedRecordError(DataError):
    """A TFRecord file is not intact: `found` names the file, the byte offset of the record, and what is wrong."""


def _damage(path: str, offset: int, reason: str) -> DamagedRecordError:
    return DamagedRecordError(
        "A TFRecord file is damaged, or is no TFRecord file",
        asked=f"the records of {path}",
        found=f"at byte {offset}: {reason}",
        change="make or copy that file anew, or leave it out of the --*_data_pattern",
    )


def _length_at(path: str, offset: int, header: bytes, bytes_left: int) -> int:
    """The record's length out of its header, or DamagedRecordError."""
    length, flaw = read_header(header)
    missing = length + FOOTER_BYTES - bytes_left
    if not flaw and missing > 0:
        flaw = cut_short(length, missing)
    if flaw:
        raise _damage(path, offset, flaw)
    return length


def count_records(path: str, *, on_damage: Callable[[DamagedRecordError], None] | None = None) -> int:
    """How many records `path` holds, from their headers alone; the data between them is skipped, not read.

    Args:
      path: the file.
      on_damage: None raises; otherwise it is called, and the records before the damage are counted.

    Raises:
      DamagedRecordError: a header is wrong or the file is cut short.
    """
    end, offset, count = storage.size(path), 0, 0
    with storage.open_binary(path) as file:
        while offset < end:
            file.seek(offset)
            try:
                length = _length_at(path, offset, file.read(HEADER_BYTES), end - offset - HEADER_BYTES)
            except DamagedRecordError as damage:
                if on_damage is None:
                    raise
                on_damage(damage)
                break
            offset += HEADER_BYTES + length + FOOTER_BYTES
            count += 1
    return count


def read_records(
    path: str, *, on_damage: Callable[[DamagedRecordError], None] | None = None
) -> Iterator[tuple[int, bytes]]:
    """Yields (byte offset, data) of each record, both checksums verified.

    Args:
      path: the file.
      on_damage: None raises at the first damage. Otherwise it is called, and reading goes on with the next record
        where its place is known (damaged data), or ends with this file (a damaged length).

    Raises:
      DamagedRecordError: see `on_damage`.
    """
    end, offset = storage.size(path), 0
    with storage.open_binary(path) as file:
        while offset < end:
            try:
                length = _length_at(path, offset, file.read(HEADER_BYTES), end - offset - HEADER_BYTES)
            except DamagedRecordError as damage:
                if on_damage is None:
                    raise
                left = f"the rest of the file, {end - offset} bytes, is left out"
                on_damage(DamagedRecordError(damage.summary, found=f"{path} {damage.found}; {left}"))
                return
            body = file.read(length + FOOTER_BYTES)
            data = body[:length]
            flaw = data_flaw(data, body[length:])
            if not flaw:
                yield offset, data
            elif on_damage is None:
                raise _damage(path, offset, flaw)
            else:
                on_damage(_damage(path, offset, flaw))
            offset += HEADER_BYTES + length + FOOTER_BYTES


def framed(data: bytes) -> bytes:
    """One record as it stands in a file."""
    length = struct.pack("<Q", len(data))
    return length + struct.pack("<I", masked_crc(length)) + data + struct.pack("<I", masked_crc(data))


def write_record(file: IO[bytes], data: bytes) -> None:
    """Appends one framed record to an open file."""
    file.write(framed(data))


def shard_name(prefix: str, index: int, count: int) -> str:
    """`train-00003-of-00008`."""
    return f"{os.fspath(prefix)}-{index:05d}-of-{count:05d}"
