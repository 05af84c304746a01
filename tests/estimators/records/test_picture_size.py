"""What pictures claim in their headers, found without decoding them."""

from __future__ import annotations

import io
import struct

import pytest
from PIL import Image

from estimators.records.picture_size import picture_error, picture_size
from estimators.records.record_schema import serialize_example
from tests.estimators.drawn_records import encoded, picture

LIMIT = 1000


@pytest.mark.parametrize("format", ["JPEG", "PNG", "GIF", "BMP"])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_the_size_of_a_picture_is_that_in_its_header(format: str, mode: str) -> None:
    data = picture(size=(33, 21), mode=mode, format=format)
    assert picture_size(b"before" + data + b"after", 6, 6 + len(data)) == (33, 21)


def test_progressive_and_cmyk_pictures_and_those_with_a_preview_have_their_own_size() -> None:
    exif = Image.Exif()
    exif[0x010E] = "x" * 5000
    for data in (
        encoded(Image.new("RGB", (33, 21)), progressive=True),
        encoded(Image.new("CMYK", (33, 21))),
        encoded(Image.new("RGB", (33, 21)), exif=exif),
        b"\xff\xd8\0garbage" + encoded(Image.new("RGB", (33, 21)))[2:],
    ):
        assert picture_size(data, 0, len(data)) == (33, 21)


def test_an_animation_counts_with_all_its_frames_whatever_its_screen_claims() -> None:
    frames = [Image.new("L", (30, 20), grey) for grey in (0, 90, 180)]
    data = bytearray(encoded(frames[0], format="GIF", save_all=True, append_images=frames[1:], optimize=False))
    data[6:10] = struct.pack("<HH", 1, 1)
    width, height = picture_size(bytes(data), 0, len(data)) or (0, 0)
    assert width == 30 and 20 < height <= 60
    at = data.index(b"\x2c\0\0\0\0")
    data[at + 5 : at + 9] = struct.pack("<HH", 65_535, 65_535)
    assert "claims 65535 x " in (picture_error(serialize_example(bytes(data), "x"), LIMIT) or "")


@pytest.mark.parametrize(
    "data", [b"", b"\xff\xd8", b"\xff\xd8\xff", b"\xff\xd8\xff\xc0", b"\x89PNG\r\n\x1a\n", b"BM", b"x"]
)
def test_bytes_that_claim_nothing_have_no_size(data: bytes) -> None:
    assert picture_size(data, 0, len(data)) is None


def test_photos_agree_with_pillow(photos) -> None:
    for path in sorted((photos / "photos").rglob("*.jpg")):
        data = path.read_bytes()
        with Image.open(io.BytesIO(data)) as image:
            assert picture_size(data, 0, len(data)) == image.size


def test_a_picture_that_claims_too_much_is_told() -> None:
    record = serialize_example(picture(size=(50, 21)), "1.jpg")
    assert picture_error(record, 1050) is None
    assert picture_error(record, 1049) == "its picture claims 50 x 21 pixels, and --max_image_pixels is 1049"


def test_a_small_file_that_claims_a_huge_picture_is_told() -> None:
    data = bytearray(picture())
    at = data.index(b"\xff\xc0")
    data[at + 5 : at + 9] = struct.pack(">HH", 12_000, 12_000)
    assert "12000 x 12000" in (picture_error(serialize_example(bytes(data), "1.jpg"), 50_000_000) or "")


@pytest.mark.parametrize("label", [None, 1])
def test_records_are_read_as_protobuf_reads_them(label) -> None:
    record = serialize_example(picture(size=(100, 100)), "1.jpg", label)
    for same in (record, record + b"\x0a\x00", b"\x0a\x00" + record):  # a message may come in parts
        assert "100 x 100" in (picture_error(same, LIMIT) or ""), same[:20]
    assert picture_error(record[:-20], LIMIT) is not None


@pytest.mark.parametrize("record", [serialize_example(b"", "1.jpg"), b"", b"\x0a\x00"])
def test_a_record_without_a_picture_is_told(record: bytes) -> None:
    assert picture_error(record, LIMIT) == "it has no image/encoded"


def test_bytes_that_are_no_example_are_told() -> None:
    assert "not a tf.train.Example" in (picture_error(b"no example at all", LIMIT) or "")
