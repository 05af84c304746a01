"""Ends training where its numbers stop being numbers, before a checkpoint holds them."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from estimators.checkpoints.checkpoint_files import latest_checkpoint
from estimators.errors import UserError, first_of
from estimators.experiment_options import ExperimentOptions


class FiniteTrainingHook(tf.estimator.SessionRunHook):  # type: ignore[misc]
    """Looks at the loss of each step and, when it is asked, at all that a checkpoint holds.

    It must come before the hook that saves. TensorFlow's own NanTensorHook comes after it: a checkpoint that is due at
    the step of the NaN would be saved full of NaN, as the newest, and older ones deleted. Nor does it say the step.

    Args:
      options: of the run.
    """

    def __init__(self, options: ExperimentOptions) -> None:
        self._options = options

    def begin(self) -> None:
        """Finds loss, step and variables in the finished graph."""
        self._step = tf.compat.v1.train.get_global_step()
        # Estimator puts what it trains there last: the loss with its penalties, reduced over the replicas.
        self._loss = tf.compat.v1.get_collection(tf.compat.v1.GraphKeys.LOSSES)[-1]
        # Weights, moving averages, what the optimizer keeps.
        self._variables = [v for v in tf.compat.v1.global_variables() if v.dtype.base_dtype.is_floating]
        self._finite = [_is_finite(variable) for variable in self._variables]

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

    def check_variables(self, session: Any) -> None:
        """Keeps variables that are NaN or infinite from being saved; to be called before a checkpoint is written.

        Each process looks at its own replicas, so where several save in step all of them must call it: a moving average
        is saved as the mean over the replicas of all.

        Raises:
          UserError: some are.
        """
        finite, step = session.run((self._finite, self._step))
        if not all(finite):
            names = [variable.op.name for variable, good in zip(self._variables, finite, strict=True) if not good]
            raise self._stopped(
                f"Variables are NaN or infinite after step {step}, so training stopped there and they were not saved",
                f"{len(names)} of {len(finite)} variables: {first_of(names)}; ",
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


def _is_finite(variable: Any) -> Any:
    """Whether all of a variable's values are finite, in each replica of this process.

    The variable itself, if each replica has a value of its own, would be read as their mean: under MultiWorkerMirrored
    by a collective operation, which waits for the other workers.
    """
    finite = []
    for part in tf.distribute.get_strategy().experimental_local_results(variable):
        with tf.device(part.device):  # of the parameter server, where there is one: one bit travels
            finite.append(tf.reduce_all(tf.math.is_finite(part)))
    return tf.reduce_all(finite)
