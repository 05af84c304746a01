from __future__ import annotations

import struct
import zlib
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from estimators.conversion.photo_encoding import NoPictureError, encode_photo
from tests.estimators.conversion.made_photos import jpeg_of_orientation, opened, two_coloured
from tests.estimators.drawn_records import encoded, noisy_picture, picture


def pixels(data: bytes) -> npt.NDArray[Any]:
    return np.asarray(opened(data).convert("RGB")).astype(int)


def test_a_jpeg_is_kept_byte_for_byte():
    for data in (noisy_picture(), picture(7, mode="L"), picture(7, mode="CMYK"), jpeg_of_orientation(1)):
        photo = encode_photo(data)
        assert photo.data == data and photo.treatment == "kept"


def test_an_orientation_that_is_none_changes_nothing():
    assert encode_photo(jpeg_of_orientation(99)).treatment == "kept"


def test_damaged_exif_data_hinders_nothing():
    data = picture(7)
    junk = b"Exif\0\0II*\0\xff\xff\xff\xff\xff"
    with_junk = data[:2] + b"\xff\xe1" + struct.pack(">H", len(junk) + 2) + junk + data[2:]
    assert encode_photo(with_junk).data == with_junk


# Where red is, and the size, once the picture of that orientation is upright.
UPRIGHT = {
    2: ("right", (40, 24)),
    3: ("right", (40, 24)),
    4: ("left", (40, 24)),
    5: ("top", (24, 40)),
    6: ("top", (24, 40)),
    7: ("bottom", (24, 40)),
    8: ("bottom", (24, 40)),
}


@pytest.mark.parametrize("orientation", UPRIGHT)
def test_a_photo_is_turned_as_its_orientation_asks(orientation):
    photo = encode_photo(jpeg_of_orientation(orientation))
    red_at, size = UPRIGHT[orientation]
    image = opened(photo.data)
    assert photo.treatment == "turned" and (image.format, image.size) == ("JPEG", size)
    assert image.getexif().get(0x0112, 1) == 1
    found = pixels(photo.data)
    inside = {"left": found[12, 5], "right": found[12, -6], "top": found[5, 12], "bottom": found[-6, 12]}
    for place, colour in inside.items():
        if place == red_at:
            assert colour[0] > 200 > 60 > colour[2]
    opposite = {"left": "right", "right": "left", "top": "bottom", "bottom": "top"}[red_at]
    assert inside[opposite][2] > 200


def test_what_is_encoded_anew_has_quality_95():
    reference = opened(encoded(two_coloured(), quality=95))
    photo = opened(encode_photo(jpeg_of_orientation(3)).data)
    assert photo.quantization == reference.quantization  # type: ignore[attr-defined]


@pytest.mark.parametrize("format", ["PNG", "WEBP", "BMP", "GIF"])
def test_other_formats_are_encoded_anew_and_look_the_same(format):
    photo = encode_photo(encoded(two_coloured(), format=format))
    assert photo.treatment == "re_encoded" and opened(photo.data).format == "JPEG"
    assert np.abs(pixels(photo.data)[:, [4, -5]] - np.asarray(two_coloured()).astype(int)[:, [4, -5]]).max() < 12


def test_of_a_moving_picture_the_first_frame_is_taken():
    frames = [Image.new("RGB", (20, 20), colour) for colour in ("red", "blue")]
    for format in ("GIF", "WEBP"):
        data = encoded(frames[0], format=format, save_all=True, append_images=frames[1:])
        red, _, blue = pixels(encode_photo(data).data)[10, 10]
        assert red > 200 and blue < 60


@pytest.mark.parametrize(
    ("format", "mode"), [("PNG", "RGBA"), ("PNG", "LA"), ("PNG", "P"), ("WEBP", "RGBA"), ("GIF", "P")]
)
def test_what_is_transparent_becomes_white(format, mode):
    clear = Image.new("RGBA", (20, 20), (0, 0, 0, 0))
    clear.paste((0, 0, 0, 255), (0, 0, 10, 20))
    image = clear if mode == "P" else clear.convert(mode)
    found = pixels(encode_photo(encoded(image, format=format)).data)
    assert found[10, 2].max() < 30 and found[10, 17].min() > 225


def test_16_bits_of_grey_become_8():
    levels = np.repeat(np.array([[0, 0x4000, 0x8000, 0xFFFF]], np.uint16), 16, axis=0).repeat(16, axis=1)
    found = pixels(encode_photo(encoded(Image.fromarray(levels), format="PNG")).data)[8, 8::16, 0]
    assert np.abs(found - [0, 64, 128, 255]).max() < 4


def _png_that_claims(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def _half(**how: Any) -> bytes:
    whole = encoded(opened(noisy_picture()), **how)
    return whole[: len(whole) // 2]


NO_PICTURES = {
    "empty": (b"", "it is empty"),
    "text": (b"hello", "5 bytes that are no JPEG, PNG"),
    "TIFF": (picture(7, format="TIFF"), "no JPEG, PNG"),
    "half a JPEG": (noisy_picture()[:4000], "truncated"),
    "half a PNG": (_half(format="PNG"), "truncated"),
    "half a WebP": (_half(format="WEBP", lossless=True), ""),
    "half a BMP": (_half(format="BMP"), "truncated"),
    "half a GIF": (_half(format="GIF"), "truncated"),
    "far too many pixels": (_png_that_claims(12_000, 12_000), "144000000 pixels"),
    "far more": (_png_that_claims(60_000, 60_000), "pixels"),
}


@pytest.mark.parametrize("name", NO_PICTURES)
def test_what_does_not_decode_is_refused_with_the_reason(name):
    data, reason = NO_PICTURES[name]
    with pytest.raises(NoPictureError) as refused:
        encode_photo(data)
    assert reason in str(refused.value) and str(refused.value)


def test_a_jpeg_whose_last_bytes_are_missing_is_refused_as_tensorflow_would():
    for missing in (1, 2, 10, 500):
        with pytest.raises(NoPictureError):
            encode_photo(noisy_picture()[:-missing])


def test_a_jpeg_of_several_pictures_is_kept():
    data = encoded(two_coloured(), format="MPO", save_all=True, append_images=[two_coloured()])
    assert opened(data).format == "MPO"
    assert encode_photo(data).data == data
