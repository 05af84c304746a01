"""From a picture file as it was found to the JPEG that goes into a record."""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass
from typing import Literal, TypeAlias

from PIL import Image, UnidentifiedImageError

from estimators.errors import one_line

QUALITY = 95
_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF")
# A JPEG with several pictures in it, as telephones write them; whoever reads a JPEG finds the first.
_JPEGS = ("JPEG", "MPO")
_ORIENTATION = 0x0112
# What each value of the EXIF tag asks for; 1 and all others ask for nothing.
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

Treatment: TypeAlias = Literal["kept", "turned", "re_encoded"]


class NoPictureError(Exception):
    """The bytes do not decode; the text says why."""


@dataclass(frozen=True)
class EncodedPhoto:
    """A JPEG, and what was done to get it.

    Attributes:
      data: its bytes.
      treatment: "kept" byte for byte; "turned" as its EXIF orientation asks, which TensorFlow does not read, and
        encoded anew; "re_encoded" from another format.
    """

    data: bytes
    treatment: Treatment


def encode_photo(data: bytes) -> EncodedPhoto:
    """Makes a JPEG of a JPEG, PNG, WebP, BMP or GIF (its first frame; what is transparent becomes white).

    Raises:
      NoPictureError: it is none of these, does not decode, or has more pixels than Pillow takes for a photo.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about what hinders nobody from decoding the picture
            # A few kilobytes can claim pixels that fill all memory, here and again at each decoding in training.
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
                return _encoded(image, data)
    except UnidentifiedImageError:
        found = f"{len(data)} bytes that are" if data else "it is empty,"
        raise NoPictureError(f"{found} no {', '.join(_FORMATS)} picture") from None
    except MemoryError:
        raise
    except Exception as error:  # Pillow's decoders raise many kinds for bytes that lie
        raise NoPictureError(one_line(error)) from error


def _encoded(image: Image.Image, data: bytes) -> EncodedPhoto:
    turn = _TURNS.get(_orientation(image))
    is_jpeg = image.format in _JPEGS
    if is_jpeg and turn is None:
        image.draft("RGB", (64, 64))  # decodes all of the data, but to a fraction of the size, which is faster
        image.load()
        return EncodedPhoto(data, "kept")
    upright = _opaque(image)
    if turn is not None:
        upright = upright.transpose(turn)
    file = io.BytesIO()
    upright.save(file, "JPEG", quality=QUALITY)
    return EncodedPhoto(file.getvalue(), "turned" if is_jpeg else "re_encoded")


def _orientation(image: Image.Image) -> int:
    try:
        value = image.getexif().get(_ORIENTATION, 1)
    except Exception:  # damaged EXIF data hinders nobody from decoding the picture
        return 1
    return value if isinstance(value, int) else 1


def _opaque(image: Image.Image) -> Image.Image:
    """The picture in RGB, on white."""
    if image.mode.startswith("I;16"):  # 16 bits of grey; Pillow would cut off at 255 what is above
        image = image.convert("I").point(lambda level: level / 256).convert("L")
    if not image.has_transparency_data:
        return image.convert("RGB")
    layered = image.convert("RGBA")
    white = Image.new("RGB", layered.size, "white")
    white.paste(layered, mask=layered.getchannel("A"))
    return white
