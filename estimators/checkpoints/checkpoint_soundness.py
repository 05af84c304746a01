"""Is a checkpoint's every byte as it was written? Told with the file and what is wrong with it, without TensorFlow.

TensorFlow itself finds damage only as it restores, with an error that ends the run, and needs seconds to be imported.

A checkpoint is an index, `<prefix>.index`, and data files, `<prefix>.data-<k>-of-<n>`. The index is a table of sorted
keys (https://github.com/google/leveldb/blob/main/doc/table_format.md, without compression): "" -> BundleHeaderProto,
and each variable's name -> BundleEntryProto, which says where its bytes lie, and their masked CRC32C
(tensorflow/core/protobuf/tensor_bundle.proto).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from estimators import storage
from estimators.records.tfrecord_framing import masked_crc

_MAGIC = bytes.fromhex("57fb808b247547db")
_FOOTER_BYTES = 48
_TRAILER_BYTES = 5  # of a block: one byte for its compression, four for its checksum
# Fields of BundleHeaderProto and BundleEntryProto, and values of DataType.
_NUM_SHARDS, _DTYPE, _SHARD_ID, _OFFSET, _SIZE, _CRC = 1, 1, 3, 4, 5, 6
_STRING, _VARIANT = 7, 21  # their checksums are not those of the bytes as they lie there


class _Damage(Exception):
    """Its text says what is wrong with the index."""


@dataclass(frozen=True)
class _Entry:
    """Where the bytes of a variable, or of a slice of it, lie."""

    shard: int
    offset: int
    size: int
    crc: int | None


def flaw_of(prefix: str) -> str | None:
    """What is wrong with a checkpoint, naming the file; None if nothing is.

    Every byte is read where it is local. An object store keeps checksums itself, and would have to send it all.

    Args:
      prefix: `…/model.ckpt-<step>`.
    """
    index = prefix + ".index"
    if not storage.exists(index):
        return f"{_name(index)} is missing"
    try:
        with storage.open_binary(index) as file:
            shards, entries = _read_index(file.read())
    except (_Damage, struct.error, IndexError, UnicodeDecodeError) as error:
        return f"{_name(index)} {error if isinstance(error, _Damage) else 'is damaged'}"
    for shard in range(shards):
        path = f"{prefix}.data-{shard:05d}-of-{shards:05d}"
        if not storage.exists(path):
            return f"{_name(path)} is missing"
        if reason := _flaw_of_data(path, [entry for entry in entries if entry.shard == shard]):
            return f"{_name(path)} {reason}"
    return None


def _name(path: str) -> str:
    return path.rpartition("/")[2]


def _flaw_of_data(path: str, entries: list[_Entry]) -> str | None:
    size, wanted = storage.size(path), max((entry.offset + entry.size for entry in entries), default=0)
    if size < wanted:
        return f"is cut short: {size} of {wanted} bytes"
    if storage.is_remote(path):
        return None
    with storage.open_binary(path) as file:
        for entry in sorted(entries, key=lambda entry: entry.offset):
            file.seek(entry.offset)
            if entry.crc is not None and masked_crc(file.read(entry.size)) != entry.crc:
                return f"is damaged: wrong checksum of the {entry.size} bytes at {entry.offset}"
    return None


def _read_index(data: bytes) -> tuple[int, list[_Entry]]:
    """The number of data files and what lies in them."""
    if len(data) < _FOOTER_BYTES or not data.endswith(_MAGIC):
        raise _Damage(f"is cut short or no index at all ({len(data)} bytes)")
    footer = data[-_FOOTER_BYTES:]
    _block(data, footer)  # of statistics: there are none, but it must be as it was
    _, position = _varint(footer, 0)
    _, position = _varint(footer, position)
    shards, entries = 1, []
    for _, handle in _rows(_block(data, footer[position:])):
        for key, value in _rows(_block(data, handle)):
            fields = dict(_fields(value))
            if key:
                crc = None if fields.get(_DTYPE, 0) in (_STRING, _VARIANT) else fields.get(_CRC, 0)
                size = fields.get(_SIZE, 0)
                entries.append(_Entry(fields.get(_SHARD_ID, 0), fields.get(_OFFSET, 0), size, crc if size else None))
            else:
                shards = fields.get(_NUM_SHARDS, 0)
    return shards, entries


def _block(data: bytes, handle: bytes) -> bytes:
    """The block at a handle, which is an offset and a size."""
    offset, position = _varint(handle, 0)
    size, _ = _varint(handle, position)
    block = data[offset : offset + size + _TRAILER_BYTES]
    if len(block) < size + _TRAILER_BYTES or masked_crc(block[:-4]) != struct.unpack("<I", block[-4:])[0]:
        raise _Damage(f"is damaged: wrong checksum of the {size} bytes at {offset}")
    if block[size]:
        raise _Damage("is compressed, which TensorFlow does not do")
    return block[:size]


def _rows(block: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The (key, value) pairs of a block. A key repeats the beginning of the one before it."""
    restarts = struct.unpack("<I", block[-4:])[0]
    end, position, key = len(block) - 4 * (restarts + 1), 0, b""
    while position < end:
        shared, position = _varint(block, position)
        unshared, position = _varint(block, position)
        length, position = _varint(block, position)
        key = key[:shared] + block[position : position + unshared]
        position += unshared
        yield key, block[position : position + length]
        position += length


def _fields(message: bytes) -> Iterator[tuple[int, int]]:
    """The integer fields of a serialized protocol buffer."""
    position = 0
    while position < len(message):
        tag, position = _varint(message, position)
        field, kind = tag >> 3, tag & 7
        if kind == 0:
            value, position = _varint(message, position)
            yield field, value
        elif kind == 5:
            yield field, struct.unpack_from("<I", message, position)[0]
            position += 4
        elif kind == 2:
            length, position = _varint(message, position)
            position += length
        else:
            position += 8


def _varint(data: bytes, position: int) -> tuple[int, int]:
    """The number at a position, and the position behind it."""
    value = shift = 0
    while True:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, position
