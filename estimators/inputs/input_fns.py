"""From file lists to batches, for training and evaluation.

records -> [this worker's part] -> fields -> decoded uint8 -> [cache] -> shuffle -> repeat -> batch -> float
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import psutil
import tensorflow as tf

from estimators.experiment_options import ExperimentOptions
from estimators.inputs.augmentation import augmented
from estimators.inputs.data_check import DataFiles
from estimators.inputs.image_decoding import decode_image, to_model_input
from estimators.inputs.skipped_records import SkippedRecords
from estimators.inputs.worker_shards import WorkerShard
from estimators.readers import intact_records_of, parse_fields, records_of
from estimators.records.record_schema import IMAGE_ENCODED, IMAGE_ID, IMAGE_LABEL
from estimators.tensorflow_compat import reason_of

NOTHING_LEFT = "no record is left to train on"
_MEMORY_SHARE = 0.25  # of what is free, for all workers of a machine together
_SHUFFLE_BYTES = 256 << 20


def train_input_fn(
    options: ExperimentOptions, shard: WorkerShard, *, num_workers: int, scratch_dir: str, skipped: SkippedRecords
) -> Callable[[], Any]:
    """Batches for training, without end: the number of steps ends training, the same on every worker.

    Args:
      options: of the run.
      shard: what this worker reads.
      num_workers: replicas that may share this machine's memory.
      scratch_dir: folder of this task alone, for the disk cache.
      skipped: told of each bad record, if those are to be skipped.

    Returns:
      A function that makes the dataset of (features, labels): features["image"] float32 [B, H, W, 3] in [-1, 1],
      labels int64 [B].
    """

    def input_fn() -> Any:
        dataset = _decoded(options, shard.files, skipped, shuffle=True, part=shard)
        cache = chosen_cache(options, shard.examples, num_workers)
        if cache == "memory":
            dataset = dataset.cache()
        elif cache == "disk":
            dataset = dataset.cache(os.path.join(scratch_dir, "decoded"))
        dataset = dataset.shuffle(_shuffle_buffer(options, shard.examples), seed=options.seed)
        dataset = dataset.repeat().concatenate(_nothing_left(options))
        dataset = dataset.batch(options.batch_size, drop_remainder=True)
        dataset = dataset.map(_to_features_and_labels)
        if options.augment:
            dataset = _augment(dataset, options.seed)
        dataset = dataset.prefetch(tf.data.AUTOTUNE)
        pipeline = tf.data.Options()
        # The shard is chosen above; TensorFlow would divide it a second time.
        pipeline.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
        return dataset.with_options(pipeline)

    return input_fn


def eval_input_fn(
    options: ExperimentOptions,
    data: DataFiles,
    *,
    batch_size: int,
    skipped: SkippedRecords,
    part: WorkerShard | None = None,
) -> Callable[[], Any]:
    """Every record once, in order. The last batch may be smaller, and one that a bad record is left out of.

    See `train_input_fn`.

    Args:
      options: of the run.
      data: the validation files.
      batch_size: records a batch.
      skipped: told of each bad record, if those are to be skipped.
      part: what this process reads, by `shard_for_evaluator` with the same batch_size; None is everything.
    """

    def input_fn() -> Any:
        batches = _decoded(options, data.paths, skipped, shuffle=False, part=part, batch_size=batch_size)
        return batches.map(_to_features_and_labels).prefetch(2)

    return input_fn


def chosen_cache(options: ExperimentOptions, examples: int, num_workers: int) -> str:
    """ "memory", "disk" or "none"; decides what "auto" means on this machine."""
    if options.cache != "auto":
        return options.cache
    needed = examples * _picture_bytes(options) * num_workers
    return "memory" if needed <= _MEMORY_SHARE * psutil.virtual_memory().available else "none"


def _nothing_left(options: ExperimentOptions) -> Any:
    """Fails when it is read, which is after `repeat()` of a dataset without any record; training would just end."""

    @tf.autograph.experimental.do_not_convert
    def fail(index: Any) -> tuple[Any, Any]:
        with tf.control_dependencies([tf.debugging.Assert(index < 0, [NOTHING_LEFT])]):
            return tf.zeros([options.image_size, options.image_size, 3], tf.uint8), tf.identity(index)

    return tf.data.Dataset.range(1).map(fail)


def _picture_bytes(options: ExperimentOptions) -> int:
    return options.image_size * options.image_size * 3


def _shuffle_buffer(options: ExperimentOptions, examples: int) -> int:
    return max(1, min(examples, _SHUFFLE_BYTES // _picture_bytes(options)))


def _decoded(
    options: ExperimentOptions,
    files: tuple[str, ...],
    skipped: SkippedRecords,
    *,
    shuffle: bool,
    part: WorkerShard | None = None,
    batch_size: int | None = None,
) -> Any:
    """A dataset of (uint8 [H, W, 3], int64 label), or of batches of them, of so many records, bad ones among them."""
    skip = options.on_bad_record == "skip"
    if skip:
        # In evaluation a record counts once, and of damage between the records nobody knows whose it would be.
        of_another = batch_size is not None and part is not None and part.offset > 0
        on_damage = _leave_to_another if of_another else skipped.add
        dataset = intact_records_of(files, num_readers=options.num_readers, on_damage=on_damage)
    else:
        # Workers that share files count the records in one order; in orders of their own they would overlap.
        shuffle_files = shuffle and (part is None or part.every == 1)
        dataset = records_of(files, num_readers=options.num_readers, shuffle=shuffle_files, seed=options.seed)
    if part is not None and part.every > 1:
        dataset = _blocks_of(dataset, part)
    deterministic = not shuffle or options.seed is not None
    if skip:
        decode = _tolerant_decoder(options, skipped)
        dataset = dataset.map(decode, num_parallel_calls=tf.data.AUTOTUNE, deterministic=deterministic)
        if batch_size is not None:
            return _intact_of_batches(dataset.batch(batch_size))
        return dataset.filter(lambda intact, pixels, label: intact).map(lambda intact, pixels, label: (pixels, label))

    @tf.autograph.experimental.do_not_convert  # the conversion takes longer than all the rest of the graph
    def decode_record(serialized: Any) -> tuple[Any, Any]:
        return _decode_record(serialized, options)

    dataset = dataset.map(decode_record, num_parallel_calls=tf.data.AUTOTUNE, deterministic=deterministic)
    return dataset if batch_size is None else dataset.batch(batch_size)


def _leave_to_another(damage: Exception) -> None:
    """The first process tells of it."""


def _blocks_of(records: Any, part: WorkerShard) -> Any:
    if part.block == 1:
        return records.shard(part.every, part.offset)

    @tf.autograph.experimental.do_not_convert
    def is_mine(index: Any, record: Any) -> Any:
        return tf.equal(index // part.block % part.every, part.offset)

    return records.enumerate().filter(is_mine).map(lambda index, record: record)


def _intact_of_batches(batches: Any) -> Any:
    """Bad records leave their batch, but no other record comes in for them: so all batches stay what they are."""

    @tf.autograph.experimental.do_not_convert
    def intact_of(intact: Any, pixels: Any, labels: Any) -> tuple[Any, Any]:
        return tf.boolean_mask(pixels, intact), tf.boolean_mask(labels, intact)

    return batches.map(intact_of).filter(lambda pixels, labels: tf.size(labels) > 0)


def _decode_record(serialized: Any, options: ExperimentOptions) -> tuple[Any, Any]:
    fields = parse_fields(serialized, with_label=True)
    label = fields[IMAGE_LABEL]
    in_range = tf.debugging.Assert(
        (label >= 0) & (label < options.num_classes),
        ["the label of", fields[IMAGE_ID], "is", label, "but --num_classes is", options.num_classes],
    )
    with tf.control_dependencies([in_range] if in_range is not None else []):
        return decode_image(fields[IMAGE_ENCODED], options.image_size), tf.identity(label)


def _tolerant_decoder(options: ExperimentOptions, skipped: SkippedRecords) -> Callable[[Any], tuple[Any, Any, Any]]:
    """The same decoding, run eagerly in Python, where an error of one record can be caught and the record named."""
    side = options.image_size

    # Traced once; op by op the eager decoding would cost about a millisecond a record.
    @tf.function(autograph=False, input_signature=[tf.TensorSpec([], tf.string)])
    def decode_record(serialized: Any) -> tuple[Any, Any]:
        return _decode_record(serialized, options)

    def attempt(serialized: Any) -> tuple[Any, Any, Any]:
        try:
            pixels, label = decode_record(serialized)
            return tf.constant(True), pixels, label
        except tf.errors.OpError as error:
            skipped.add(_describe(serialized, error))
            return tf.constant(False), tf.zeros([side, side, 3], tf.uint8), tf.constant(0, tf.int64)

    def decode(serialized: Any) -> tuple[Any, Any, Any]:
        intact, pixels, label = tf.py_function(attempt, [serialized], [tf.bool, tf.uint8, tf.int64])
        return tf.ensure_shape(intact, []), tf.ensure_shape(pixels, [side, side, 3]), tf.ensure_shape(label, [])

    return decode


def _describe(serialized: Any, error: Any) -> str:
    try:
        image_id = parse_fields(serialized, with_label=False)[IMAGE_ID].numpy().decode("utf-8", "replace")
    except tf.errors.OpError:
        image_id = ""
    return f"{image_id or 'a record without an id'}: {reason_of(error.message)}"


@tf.autograph.experimental.do_not_convert
def _to_features_and_labels(pixels: Any, label: Any) -> tuple[dict[str, Any], Any]:
    return {"image": to_model_input(pixels)}, label


def _augment(dataset: Any, seed: int | None) -> Any:
    @tf.autograph.experimental.do_not_convert
    def augment(batch: tuple[dict[str, Any], Any], batch_seed: Any) -> tuple[dict[str, Any], Any]:
        features, labels = batch
        return {**features, "image": augmented(features["image"], batch_seed)}, labels

    # A seed of its own for each batch, and not a state that parallel batches draw from in any order.
    seeds = tf.data.Dataset.random(seed=seed, rerandomize_each_iteration=False)
    return tf.data.Dataset.zip((dataset, seeds)).map(augment, num_parallel_calls=tf.data.AUTOTUNE)
