"""Random changes of training pictures that leave the class as it is."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

_SMALLEST_CROP = 0.75  # of the side
_LIGHT = 0.2  # added to all channels; pictures are in [-1, 1]
_CONTRAST = 0.2
_COLOUR = 0.1  # added to each channel by itself


def augmented(images: Any) -> Any:
    """Mirrors half of the pictures, crops each and resizes it back, and changes its light, contrast and colour.

    Args:
      images: float32 [B, H, W, 3] in [-1, 1].

    Returns:
      The same shape and range. Which changes are made is drawn anew for each picture and each pass.
    """
    batch, height, width = tf.shape(images)[0], images.shape[1], images.shape[2]
    side = tf.random.uniform([batch, 1], _SMALLEST_CROP, 1.0)
    corner = tf.random.uniform([batch, 2]) * (1.0 - side)
    top, left, bottom, right = corner[:, :1], corner[:, 1:], corner[:, :1] + side, corner[:, 1:] + side
    # Mirrored by exchanging left and right of the crop.
    mirror = tf.random.uniform([batch, 1]) < 0.5
    boxes = tf.concat([top, tf.where(mirror, right, left), bottom, tf.where(mirror, left, right)], axis=1)
    cropped = tf.image.crop_and_resize(images, boxes, tf.range(batch), [height, width])

    def drawn(limit: float, channels: int) -> Any:
        return tf.random.uniform([batch, 1, 1, channels], -limit, limit)

    mean = tf.reduce_mean(cropped, axis=[1, 2], keepdims=True)
    changed = (cropped - mean) * (1.0 + drawn(_CONTRAST, 1)) + mean + drawn(_LIGHT, 1) + drawn(_COLOUR, 3)
    return tf.clip_by_value(changed, -1.0, 1.0)
