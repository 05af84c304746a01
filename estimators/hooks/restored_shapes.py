"""Refuses to continue from a checkpoint whose variables have other shapes than the graph's."""

from __future__ import annotations

import tensorflow as tf

from estimators.checkpoints.checkpoint_files import latest_checkpoint
from estimators.errors import UserError


class RestoredShapesHook(tf.estimator.SessionRunHook):  # type: ignore[misc]
    """Looks before the session is made.

    TensorFlow restores a variable of another shape without a word, and goes on with the shape of the checkpoint: a
    model whose layers were changed would train as it was before, or fail somewhere in the middle.

    Args:
      train_dir: the folder that the session will restore from.
    """

    def __init__(self, train_dir: str) -> None:
        self._train_dir = train_dir

    def begin(self) -> None:
        """Compares the finished graph with the newest checkpoint.

        Raises:
          UserError: a variable's shape differs.
        """
        checkpoint = latest_checkpoint(self._train_dir)
        if checkpoint is None:
            return
        saved = tf.train.load_checkpoint(checkpoint.prefix).get_variable_to_shape_map()
        for variable in tf.compat.v1.global_variables():
            name, shape = variable.op.name, variable.shape.as_list()
            if name in saved and saved[name] != shape:
                raise UserError(
                    "--train_dir holds checkpoints of another model: a variable has another shape",
                    asked=f"{name} of shape {shape}",
                    found=f"shape {saved[name]} in {checkpoint.prefix}",
                    change="the model as it was, another --train_dir, or --start_new_model to begin anew",
                )
