"""Files that look like a checkpoint of TensorFlow's."""

from __future__ import annotations

from pathlib import Path

# Each table that TensorFlow writes ends with this number.
INDEX = b"some table" + bytes.fromhex("57fb808b247547db")


def write_checkpoint(train_dir: Path, step: int, *, shards: int = 1, index: bytes = INDEX) -> None:
    for shard in range(shards):
        (train_dir / f"model.ckpt-{step}.data-{shard:05d}-of-{shards:05d}").write_bytes(b"data")
    (train_dir / f"model.ckpt-{step}.meta").write_bytes(b"meta")
    (train_dir / f"model.ckpt-{step}.index").write_bytes(index)
