"""From the bytes of one picture file to pixels; the same for training, evaluation and the exported model."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

# A JPEG can be decoded at 1/2, 1/4 or 1/8 of its size by leaving out high frequencies, in about half the time; that
# also averages pixels that a plain bilinear resize would skip over.
_JPEG_RATIOS = (1, 2, 4, 8)


def decode_image(encoded: Any, image_size: int) -> Any:
    """Decodes a JPEG, PNG, GIF (first frame) or BMP and resizes it, not keeping its aspect ratio.

    Args:
      encoded: string scalar, the bytes of one picture file.
      image_size: side of the result, pixels.

    Returns:
      uint8 [image_size, image_size, 3].

    Raises:
      tf.errors.InvalidArgumentError: when run, if the bytes are no picture.
    """

    def jpeg_at(ratio: int) -> Any:
        return lambda: tf.image.decode_jpeg(encoded, channels=3, ratio=ratio)

    def other() -> Any:
        return tf.io.decode_image(encoded, channels=3, expand_animations=False)

    def jpeg() -> Any:
        shortest = tf.reduce_min(tf.image.extract_jpeg_shape(encoded)[:2])
        # The largest ratio that leaves at least image_size pixels on the shorter side.
        usable = [tf.cast(shortest // ratio >= image_size, tf.int32) for ratio in _JPEG_RATIOS[1:]]
        return tf.switch_case(tf.add_n(usable), [jpeg_at(ratio) for ratio in _JPEG_RATIOS])

    pixels = tf.cond(tf.io.is_jpeg(encoded), jpeg, other)
    pixels.set_shape([None, None, 3])
    resized = tf.image.resize(pixels, [image_size, image_size])
    return tf.cast(tf.round(resized), tf.uint8)


def to_model_input(pixels: Any) -> Any:
    """uint8 [..., H, W, 3] to float32 in [-1, 1]."""
    return tf.cast(pixels, tf.float32) * (2.0 / 255.0) - 1.0
