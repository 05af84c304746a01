"""Small picture files in folders and archives, as a user might have them."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image

from tests.estimators.drawn_records import encoded, picture

_ORIENTATION = 0x0112


def write_photos(folder: Path, names: Iterable[str], *, start: int = 0) -> Path:
    """A JPEG under each name, no two alike; folders are made as they are needed."""
    for number, name in enumerate(names, start=start):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture(number % 256, size=(20 + number // 256, 16)))
    return folder


def cats_and_dogs(folder: Path, each: int = 10) -> Path:
    """cats/c0.jpg … and dogs/d0.jpg …"""
    names = [f"{kind}/{kind[0]}{number}.jpg" for kind in ("cats", "dogs") for number in range(each)]
    return write_photos(folder, names)


def zipped(folder: Path, archive: Path, *, within: str = "") -> Path:
    """A .zip of all files below `folder`, in the folder `within`."""
    with zipfile.ZipFile(archive, "w") as file:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                file.write(path, within + str(path.relative_to(folder)))
    return archive


def two_coloured() -> Image.Image:
    """40 wide, 24 high: red on the left, blue on the right."""
    pixels = np.zeros((24, 40, 3), np.uint8)
    pixels[:, :20, 0] = 255
    pixels[:, 20:, 2] = 255
    return Image.fromarray(pixels)


def jpeg_of_orientation(orientation: int) -> bytes:
    """`two_coloured` with that EXIF orientation."""
    exif = Image.Exif()
    exif[_ORIENTATION] = orientation
    return encoded(two_coloured(), exif=exif, quality=95)


def opened(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data))
