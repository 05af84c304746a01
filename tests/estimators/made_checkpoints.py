"""Checkpoints in TensorFlow's format, made without it."""

from __future__ import annotations

import struct
from pathlib import Path

from estimators.records.tfrecord_framing import masked_crc

MAGIC = bytes.fromhex("57fb808b247547db")
DATA = b"one variable of 4 float32"


def _varint(value: int) -> bytes:
    low, rest = value & 0x7F, value >> 7
    return bytes([low | 0x80]) + _varint(rest) if rest else bytes([low])


def _block(rows: list[tuple[bytes, bytes]]) -> bytes:
    body = b"".join(b"\0" + _varint(len(key)) + _varint(len(value)) + key + value for key, value in rows)
    body += struct.pack("<II", 0, 1) + b"\0"  # one restart point, and no compression
    return body + struct.pack("<I", masked_crc(body))


def _handle(offset: int, block: bytes) -> bytes:
    return _varint(offset) + _varint(len(block) - 5)


def made_index(shards: int = 1) -> bytes:
    """The index of a checkpoint with a variable that is DATA in each shard."""
    crc = struct.pack("<I", masked_crc(DATA))
    rows = [(b"", b"\x08" + _varint(shards))]
    for shard in range(shards):
        value = (
            b"\x08\x01" + (b"\x18" + _varint(shard) if shard else b"") + b"\x28" + _varint(len(DATA)) + b"\x35" + crc
        )
        rows.append((b"variable_%d" % shard, value))
    data, empty = _block(rows), _block([])
    index = _block([(b"z", _handle(0, data))])
    handles = _handle(len(data), empty) + _handle(len(data) + len(empty), index)
    return data + empty + index + handles.ljust(40, b"\0") + MAGIC


INDEX = made_index()


def write_checkpoint(train_dir: Path, step: int, *, shards: int = 1, index: bytes | None = None) -> None:
    for shard in range(shards):
        (train_dir / f"model.ckpt-{step}.data-{shard:05d}-of-{shards:05d}").write_bytes(DATA)
    (train_dir / f"model.ckpt-{step}.meta").write_bytes(b"meta")
    (train_dir / f"model.ckpt-{step}.index").write_bytes(made_index(shards) if index is None else index)


def name_newest(train_dir: Path, step: int) -> None:
    """Writes the file by which TensorFlow finds what to restore."""
    (train_dir / "checkpoint").write_text(f'model_checkpoint_path: "model.ckpt-{step}"\n')
