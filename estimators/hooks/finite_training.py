"""Ends training where its numbers stop being numbers, before a checkpoint holds them."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from estimators.checkpoints import latest_checkpoint
from estimators.errors import UserError
from estimators.experiment_options import ExperimentOptions

_MOST_NAMED = 3


class FiniteTrainingHook(tf.estimator.SessionRunHook):  # type: ignore[misc]
    """Looks at the loss of each step and, when it is asked, at the weights.

    It must come before the hook that saves. TensorFlow's own NanTensorHook comes after it: a checkpoint that is due at
    the step of the NaN would be saved full of NaN, as the newest, and older ones deleted. Nor does it say the step.

    Args:
      options: of the run.
    """

    def __init__(self, options: ExperimentOptions) -> None:
        self._options = options

    def begin(self) -> None:
        """Finds loss, step and weights in the finished graph."""
        self._step = tf.compat.v1.train.get_global_step()
        # Estimator puts what it trains there last: the loss with its penalties, reduced over the replicas.
        self._loss = tf.compat.v1.get_collection(tf.compat.v1.GraphKeys.LOSSES)[-1]
        self._weights = [v for v in tf.compat.v1.trainable_variables() if v.dtype.is_floating]
        finite = []
        for weight in self._weights:
            with tf.device(weight.device):  # of the parameter server, where there is one: one bit travels
                finite.append(tf.reduce_all(tf.math.is_finite(weight)))
        self._finite = tf.stack(finite) if finite else None

    def before_run(self, run_context: Any) -> Any:
        """Asks for the loss."""
        return tf.estimator.SessionRunArgs(self._loss)

    def after_run(self, run_context: Any, run_values: Any) -> None:
        """Ends training if the loss is NaN.

        Raises:
          UserError: it is.
        """
        if np.isnan(run_values.results):
            step = int(run_context.session.run(self._step))
            raise self._stopped(f"The loss is NaN in step {step}, so training stopped there")

    def check_weights(self, session: Any) -> None:
        """Keeps weights that are NaN or infinite from being saved; to be called before a checkpoint is written.

        Raises:
          UserError: some are.
        """
        if self._finite is None:
            return
        finite, step = session.run((self._finite, self._step))
        if not all(finite):
            names = [weight.op.name for weight, good in zip(self._weights, finite, strict=True) if not good]
            some = ", ".join(names[:_MOST_NAMED]) + (", …" if len(names) > _MOST_NAMED else "")
            raise self._stopped(
                f"Weights are NaN or infinite after step {step}, so training stopped there and they were not saved",
                f"{len(names)} of {len(finite)} variables: {some}; ",
            )

    def _stopped(self, summary: str, found: str = "") -> UserError:
        options, newest = self._options, latest_checkpoint(self._options.train_dir)
        return UserError(
            summary,
            asked=f"--model={options.model} --label_loss={options.label_loss} --optimizer={options.optimizer} "
            f"--base_learning_rate={options.base_learning_rate:g} --clip_gradient_norm={options.clip_gradient_norm:g}",
            found=found + (f"the checkpoint of step {newest.step} is from before" if newest else "no checkpoint yet"),
            change="a smaller --base_learning_rate; or, in the model or the loss, a logarithm of 0 or of "
            "less (predictions outside [0, 1] want a sigmoid, or predicts_probabilities = False), or a division by 0",
        )
