"""Small TFRecord shards made for a test."""

from __future__ import annotations

import io
from collections.abc import Iterable
from pathlib import Path

from PIL import Image

from estimators.records.record_schema import serialize_example
from estimators.records.tfrecord_framing import write_record


def jpeg(shade: int, size: tuple[int, int] = (40, 30)) -> bytes:
    """A picture of one colour, as a JPEG."""
    buffer = io.BytesIO()
    Image.new("RGB", size, (shade % 256, 255 - shade % 256, 80)).save(buffer, "JPEG")
    return buffer.getvalue()


def write_shard(path: Path, records: Iterable[bytes]) -> Path:
    """A TFRecord file of these serialized examples."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        for record in records:
            write_record(file, record)
    return path


def good_records(count: int) -> list[bytes]:
    """Dark pictures are of class 0, light ones of class 1."""
    return [serialize_example(jpeg(200 * (i % 2) + i % 50), f"{i}.jpg", i % 2) for i in range(count)]
