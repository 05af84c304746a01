"""What is wrong with a record whose frame is intact: its fields, its label, its picture. Needs no TensorFlow."""

from __future__ import annotations

import io
from collections.abc import Callable, Collection

from estimators.records.picture_size import picture_size
from estimators.records.record_schema import IMAGE_ENCODED, IMAGE_ID, IMAGE_LABEL, Example, field_error, parse_example

_DECODABLE = ("JPEG", "PNG", "GIF", "BMP")  # what TensorFlow decodes


def record_fault(
    data: bytes, *, needed: Collection[str], num_classes: int | None, decoding_error: Callable[[bytes], str | None]
) -> tuple[Example | None, str | None]:
    """The record, None if it is none, and what is wrong with it, None if nothing is.

    Args:
      data: the serialized record.
      needed: the fields that it must have, as IMAGE_ENCODED; that is always one of them.
      num_classes: a label must be in [0, num_classes); None does not look at a label.
      decoding_error: why a picture does not decode; None if it does.
    """
    try:
        example = parse_example(data)
    except ValueError as error:
        return None, str(error)
    if problem := field_error(data, with_label=num_classes is not None):
        return example, problem
    if example.encoded is None:
        return example, f"it has no {IMAGE_ENCODED}"
    if example.image_id is None and IMAGE_ID in needed:
        return example, f"it has no {IMAGE_ID}"
    if example.label is None and IMAGE_LABEL in needed:
        return example, f"it has no {IMAGE_LABEL} (a test set cannot be trained on or evaluated)"
    if num_classes is not None and example.label is not None and not 0 <= example.label < num_classes:
        return example, f"its label {example.label} is outside [0, {num_classes}), see --num_classes"
    problem = decoding_error(example.encoded)
    return example, f"its picture does not decode: {problem}" if problem else None


def pillow_error(encoded: bytes, *, max_pixels: int | None = None) -> str | None:
    """Why a picture does not decode; None if it does. Needs no TensorFlow.

    Args:
      encoded: the picture.
      max_pixels: of --max_image_pixels: one whose header claims more is not decoded, nor one that Pillow would take for
        an attack though it may have so many; None does not look.
    """
    from PIL import Image, UnidentifiedImageError

    if max_pixels is not None:
        width, height = picture_size(encoded, 0, len(encoded)) or (0, 0)
        if width * height > max_pixels:
            return f"it claims {width} x {height} pixels, and --max_image_pixels is {max_pixels}"
        if width * height > (Image.MAX_IMAGE_PIXELS or 0):
            return None
    try:
        with Image.open(io.BytesIO(encoded), formats=_DECODABLE) as image:
            image.draft("RGB", (64, 64))  # a JPEG decodes faster at a fraction of its size
            image.load()
    except UnidentifiedImageError:
        return f"{len(encoded)} bytes that are none of {', '.join(_DECODABLE)}"
    except Exception as error:  # Pillow's decoders raise many kinds for bytes that lie
        return str(error)
    return None
