"""From TFRecord files to serialized examples, and from a serialized example to its fields."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import tensorflow as tf

from estimators.records.record_schema import IMAGE_ENCODED, IMAGE_ID, IMAGE_LABEL
from estimators.records.tfrecord_framing import read_records


def parse_fields(serialized: Any, *, with_label: bool) -> dict[str, Any]:
    """Reads one record's fields.

    Args:
      serialized: string scalar, or [B].
      with_label: whether the label must be there.

    Returns:
      image/encoded, image/filename: strings of the same shape; image/class/label: int64, if asked for.
    """
    features = {
        IMAGE_ENCODED: tf.io.FixedLenFeature([], tf.string),
        IMAGE_ID: tf.io.FixedLenFeature([], tf.string, default_value=""),
    }
    if with_label:
        features[IMAGE_LABEL] = tf.io.FixedLenFeature([], tf.int64)
    parse = tf.io.parse_single_example if serialized.shape.rank == 0 else tf.io.parse_example
    fields: dict[str, Any] = parse(serialized, features)
    return fields


def records_of(files: Sequence[str], *, num_readers: int, shuffle: bool, seed: int | None) -> Any:
    """A dataset of serialized examples, read by TensorFlow; damage raises tf.errors.DataLossError.

    Args:
      files: paths.
      num_readers: files read at the same time.
      shuffle: draw a new order of the files in each pass.
      seed: of that order; given, the order of the records is the same in each run.
    """
    paths = tf.data.Dataset.from_tensor_slices(list(files))
    if shuffle:
        paths = paths.shuffle(len(files), seed=seed, reshuffle_each_iteration=True)
    return paths.interleave(
        tf.data.TFRecordDataset,
        cycle_length=min(num_readers, len(files)),
        num_parallel_calls=tf.data.AUTOTUNE,
        deterministic=not shuffle or seed is not None,
    )


def intact_records_of(files: Sequence[str], *, num_readers: int, on_damage: Callable[[Exception], None]) -> Any:
    """Like `records_of`, but what is damaged is left out and told to `on_damage`.

    Read in Python: TensorFlow's reader gives up the whole rest of a file at the first damaged record.
    """

    def generate() -> Iterator[bytes]:
        for group in _groups(files, num_readers):
            readers = [read_records(path, on_damage=on_damage) for path in group]
            for row in itertools.zip_longest(*readers):
                yield from (item[1] for item in row if item is not None)

    return tf.data.Dataset.from_generator(generate, output_signature=tf.TensorSpec([], tf.string))


def _groups(files: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    return (files[start : start + size] for start in range(0, len(files), size))
