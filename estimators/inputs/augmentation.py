"""Random changes of training pictures that leave the class as it is."""

from __future__ import annotations

import itertools
from typing import Any

import tensorflow as tf

# Of the side. What lies outside of the picture is grey; on average things are as large as without augmentation, or a
# model would expect them larger than they are when it is evaluated.
_SMALLEST_CROP, _LARGEST_CROP = 0.8, 1.2
_LIGHT = 0.2  # added to all channels; pictures are in [-1, 1]
_CONTRAST = 0.2
_COLOUR = 0.1  # added to each channel by itself


def augmented(images: Any, seed: Any) -> Any:
    """Mirrors half of the pictures, enlarges or shrinks and moves each, and changes its light, contrast and colour.

    Args:
      images: float32 [B, H, W, 3] in [-1, 1], with a known B.
      seed: int64 scalar; the same one makes the same changes.

    Returns:
      The same shape and range.
    """
    # A B that TensorFlow knows only when it runs has its cost estimator complain at each start.
    batch, height, width = images.shape[0], images.shape[1], images.shape[2]
    kinds = itertools.count()

    def drawn(shape: list[int], low: float, high: float) -> Any:
        return tf.random.stateless_uniform(shape, tf.stack([seed, next(kinds)]), low, high)

    side = drawn([batch, 1], _SMALLEST_CROP, _LARGEST_CROP)
    corner = drawn([batch, 2], 0.0, 1.0) * (1.0 - side)  # a side of more than 1 begins outside
    top, left, bottom, right = corner[:, :1], corner[:, 1:], corner[:, :1] + side, corner[:, 1:] + side
    # Mirrored by exchanging left and right of the crop.
    mirror = drawn([batch, 1], 0.0, 1.0) < 0.5
    boxes = tf.concat([top, tf.where(mirror, right, left), bottom, tf.where(mirror, left, right)], axis=1)
    cropped = tf.image.crop_and_resize(images, boxes, tf.range(batch), [height, width])

    def around_0(limit: float, channels: int) -> Any:
        return drawn([batch, 1, 1, channels], -limit, limit)

    mean = tf.reduce_mean(cropped, axis=[1, 2], keepdims=True)
    changed = (cropped - mean) * (1.0 + around_0(_CONTRAST, 1)) + mean + around_0(_LIGHT, 1) + around_0(_COLOUR, 3)
    return tf.clip_by_value(changed, -1.0, 1.0)
