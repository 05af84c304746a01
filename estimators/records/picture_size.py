"""How large the picture in a record claims to be, by its header, before anything is decoded; in microseconds.

Three kilobytes can claim 12,000 x 12,000 pixels, and decode to half a gigabyte.
"""

from __future__ import annotations

import struct

from estimators.records.record_schema import IMAGE_ENCODED, parse_example

_KEY = IMAGE_ENCODED.encode("ascii")
# Tags of protobuf fields 1 and 2 that hold bytes: a message, a text.
_FIRST, _SECOND = 0x0A, 0x12
_FRAME_HEADERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # of JPEG (ITU-T T.81, table B.1)
_IMAGE, _EXTENSION = 0x2C, 0x21  # what begins a block of a GIF
_ALONE = frozenset(range(0xD0, 0xD9)) | {0x01}  # markers without a length


def picture_error(record: bytes, max_pixels: int) -> str | None:
    """Why the picture of a record cannot be used, as far as its header tells; None if nothing is wrong with that.

    Args:
      record: a serialized tf.train.Example.
      max_pixels: a picture may have so many.
    """
    span = _encoded_span(record)
    if span is None:  # unusual, or wrong: protobuf itself knows
        try:
            encoded = parse_example(record).encoded
        except ValueError as error:
            return str(error)
        record, span = encoded or b"", (0, len(encoded or b""))
    if span[0] == span[1]:
        return f"it has no {IMAGE_ENCODED}"
    width, height = picture_size(record, *span) or (0, 0)
    if width * height > max_pixels:
        return f"its picture claims {width} x {height} pixels, and --max_image_pixels is {max_pixels}"
    return None


def _encoded_span(record: bytes) -> tuple[int, int] | None:
    """Where the picture lies in a record as it is usually serialized; None if it is not found that way."""
    found = None
    try:
        at, end = _field(record, 0, _FIRST)  # Features
        if end != len(record):
            return None
        while at < end:
            entry, entry_end = _field(record, at, _FIRST)
            key, key_end = _field(record, entry, _FIRST)
            if record[key:key_end] == _KEY:
                if found is not None:
                    return None
                feature, feature_end = _field(record, key_end, _SECOND)
                values, values_end = _field(record, feature, _FIRST)  # BytesList
                first, found_end = _field(record, values, _FIRST)
                if not entry_end == feature_end == values_end == found_end:
                    return None
                found = first, found_end
            at = entry_end
        return found if at == end == len(record) else None
    except (IndexError, ValueError):
        return None


def _field(record: bytes, at: int, tag: int) -> tuple[int, int]:
    """Begin and end of the bytes of a field that has this tag."""
    if record[at] != tag:
        raise ValueError("another field")
    at += 1
    length = shift = 0
    while True:
        octet = record[at]
        at += 1
        length |= (octet & 0x7F) << shift
        if octet < 0x80:
            return at, at + length
        shift += 7
        if shift > 28:
            raise ValueError("too long")


def picture_size(data: bytes, begin: int, end: int) -> tuple[int, int] | None:
    """Width and height that the header of a JPEG, PNG, GIF or BMP claims; None if there is no such header.

    Of an animation it is that of all frames below each other: its decoder holds all of them.

    Args:
      data: holds the picture.
      begin: where it begins in `data`.
      end: where it ends.
    """
    try:
        if data.startswith(b"\xff\xd8", begin, end):
            return _jpeg_size(data, begin + 2, end)
        if data.startswith(b"\x89PNG\r\n\x1a\n", begin, end):
            width, height = struct.unpack_from(">II", data, begin + 16)
        elif data.startswith(b"GIF8", begin, end):
            return _gif_size(data, begin, end)
        elif data.startswith(b"BM", begin, end):
            width, height = map(abs, struct.unpack_from("<ii", data, begin + 18))
        else:
            return None
        return width, height
    except (IndexError, struct.error):
        return None


def _gif_size(data: bytes, begin: int, end: int) -> tuple[int, int]:
    # https://www.w3.org/Graphics/GIF/spec-gif89a.txt, 18 to 24. A frame may be larger than the screen.
    width, height, flags = struct.unpack_from("<HHB", data, begin + 6)
    at, frames = begin + 13 + _color_table_bytes(flags), 0
    while at < end and data[at] in (_IMAGE, _EXTENSION):
        if data[at] == _IMAGE:
            frame_width, frame_height, flags = struct.unpack_from("<HHB", data, at + 5)
            width, frames = max(width, frame_width), frames + frame_height
            at += 10 + _color_table_bytes(flags) + 1
        else:
            at += 2
        while at < end and data[at]:  # blocks that begin with their length; the last has none
            at += 1 + data[at]
        at += 1
    return width, max(height, frames)


def _color_table_bytes(flags: int) -> int:
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def _jpeg_size(data: bytes, at: int, end: int) -> tuple[int, int] | None:
    while True:
        at = data.find(b"\xff", at, end)  # what stands between segments is passed over, as libjpeg does
        if at < 0:
            return None
        while data[at] == 0xFF:
            at += 1
        marker = data[at]
        at += 1
        if marker in _FRAME_HEADERS:
            height, width = struct.unpack_from(">HH", data, at + 3)
            return width, height
        if marker and marker not in _ALONE:
            at += struct.unpack_from(">H", data, at)[0]
