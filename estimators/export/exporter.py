"""SavedModels that take serialized examples: `train_dir/export/step_N/`."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from typing import Any

import tensorflow as tf

from estimators import storage
from estimators.checkpoints.checkpoint_files import Checkpoint
from estimators.experiment_options import ExperimentOptions
from estimators.inputs.image_decoding import decode_image, to_model_input
from estimators.model_graph.model_fn import make_model_fn
from estimators.processes.scratch_folder import scratch_folder
from estimators.readers import parse_fields
from estimators.records.record_schema import IMAGE_ENCODED, IMAGE_ID
from estimators.tensorflow_compat import without_tf_config
from estimators.train_dir.exports import INPUT, SAVED_MODEL, export_dir, is_exported

_LEFT_SECS = 3600.0  # far over what an export takes


def export_checkpoint(options: ExperimentOptions, checkpoint: Checkpoint) -> str:
    """Exports one checkpoint, under its name whole or not at all.

    The SavedModel's signature `serving_default` takes `example_bytes` (string [B], serialized examples) and returns
    `image_id` (string [B]), `class_indexes` (int32 [B, k]) and `predictions` (float32 [B, k]), the likeliest class
    first.

    Returns:
      The folder; if it is there already, it stays as it is.
    """
    target = export_dir(options.train_dir, checkpoint.step)
    if is_exported(target):
        return target
    with _folder_beside(target) as partial:
        # An estimator of its own, outside any cluster: the chief's would place the graph on parameter servers.
        with without_tf_config():
            estimator = tf.estimator.Estimator(
                make_model_fn(options, examples_per_step=1), config=tf.estimator.RunConfig(model_dir=options.train_dir)
            )
            made = estimator.export_saved_model(
                partial, lambda: _serving_input_receiver(options), checkpoint_path=checkpoint.prefix
            )
        try:
            storage.publish_folder(made.decode("utf-8"), target, last=SAVED_MODEL)
        except OSError:
            if not is_exported(target):  # another process was quicker, whose export is as good
                raise
    return target


@contextlib.contextmanager
def _folder_beside(target: str) -> Iterator[str]:
    """A folder to export into: beside the target, or on this machine if that is in a bucket."""
    if storage.is_remote(target):
        with scratch_folder("export") as scratch:
            yield os.path.join(scratch, "export")
        return
    above = os.path.dirname(target)
    storage.make_dirs(above)
    for left in filter(storage.is_hidden_partial, storage.list_dir(above)):
        path = os.path.join(above, left)
        with contextlib.suppress(FileNotFoundError):  # the other one is done by now
            # Others may be exporting, inference of the same run for one; who was killed is told by the time.
            if time.time() - storage.modified_ns(path) / 1e9 > _LEFT_SECS:
                storage.delete(path)
    partial = storage.hidden_partial(target)
    try:
        yield partial
    finally:
        storage.delete(partial)


def _serving_input_receiver(options: ExperimentOptions) -> Any:
    example_bytes = tf.compat.v1.placeholder(tf.string, [None], name=INPUT)
    fields = parse_fields(example_bytes, with_label=False)
    # Many iterations at once, so that the pictures of one batch are decoded on all cores.
    pixels = tf.map_fn(
        lambda encoded: decode_image(encoded, options.image_size),
        fields[IMAGE_ENCODED],
        fn_output_signature=tf.uint8,
        parallel_iterations=32,
    )
    pixels.set_shape([None, options.image_size, options.image_size, 3])
    features = {"image": to_model_input(pixels), "image_id": fields[IMAGE_ID]}
    return tf.estimator.export.ServingInputReceiver(features, {INPUT: example_bytes})
