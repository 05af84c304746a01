"""Grey pictures whose pixels are their number, and TFRecord files of them, whole and damaged."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from estimators.records.record_schema import _example_class, serialize_example
from estimators.records.tfrecord_framing import FOOTER_BYTES, HEADER_BYTES, write_record


def picture(grey: int = 0, *, size: tuple[int, int] = (20, 16), mode: str = "RGB", format: str = "JPEG") -> bytes:
    """One picture file, all of one grey; a JPEG of it decodes to exactly that grey. `size` is (width, height)."""
    pixels = np.full((size[1], size[0], 3), grey, np.uint8)
    return encoded(Image.fromarray(pixels).convert(mode), format=format)


def claiming(width: int, height: int) -> bytes:
    """A JPEG of some hundred bytes whose header says that it is so large."""
    data = bytearray(picture())
    at = data.index(b"\xff\xc0")
    data[at + 5 : at + 9] = struct.pack(">HH", height, width)
    return bytes(data)


def noisy_picture(size: tuple[int, int] = (200, 150)) -> bytes:
    """A JPEG of some kilobytes."""
    pixels = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3)).astype(np.uint8)
    return encoded(Image.fromarray(pixels))


def encoded(image: Image.Image, *, format: str = "JPEG", **how: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, format, **how)
    return file.getvalue()


def record(number: int, *, label: int | None = -1) -> bytes:
    """A picture of grey `number`, id `<number>.jpg`; label 0 and 1 in turn, unless one, or None, is given."""
    return serialize_example(picture(number), f"{number}.jpg", number % 2 if label == -1 else label)


def raw_record(**lists: Sequence[Any]) -> bytes:
    """A record with these lists of values, by field and kind, e.g. label__float_list=[1.0]."""
    keys = {"encoded": "image/encoded", "id": "image/filename", "label": "image/class/label"}
    message = _example_class()()
    for name, values in lists.items():
        key, kind = name.split("__")
        getattr(message.features.feature[keys[key]], kind).value.extend(values)
    return bytes(message.SerializeToString())


def write_file(path: Path, records: Iterable[bytes]) -> str:
    """A TFRecord file of these records; its path."""
    with path.open("wb") as file:
        for data in records:
            write_record(file, data)
    return str(path)


def numbered_file(path: Path, numbers: Iterable[int]) -> str:
    """A TFRecord file of the records of these numbers."""
    return write_file(path, map(record, numbers))


def offset_of(records: Iterable[bytes]) -> int:
    """The byte offset of the record that follows `records` in a file."""
    return sum(HEADER_BYTES + len(data) + FOOTER_BYTES for data in records)


def flip(path: str, offset: int) -> None:
    """Changes one byte of a file."""
    data = bytearray(Path(path).read_bytes())
    data[offset] ^= 0xFF
    Path(path).write_bytes(data)


def cut(path: str, length: int) -> None:
    """Cuts a file to its first `length` bytes."""
    Path(path).write_bytes(Path(path).read_bytes()[:length])
