"""The optimizer by its name, its learning rate, and gradients that are clipped after they are reduced."""

from __future__ import annotations

from typing import Any, NamedTuple

import tensorflow as tf

from estimators.experiment_options import ExperimentOptions


def learning_rate_at(global_step: Any, options: ExperimentOptions, *, examples_per_step: int, max_steps: int) -> Any:
    """The learning rate at a step.

    exponential: base * decay ^ floor(examples seen / decay_examples), where examples are counted over all replicas.
    cosine: base * (1 + cos(pi * step / max_steps)) / 2, which is 0 from the last step on
    (Loshchilov and Hutter 2017, https://arxiv.org/abs/1608.03983, without restarts).

    Args:
      global_step: int64 scalar.
      options: of the run.
      examples_per_step: examples that one global step stands for.
      max_steps: the step at which training ends.

    Returns:
      float32 scalar.
    """
    if options.learning_rate_schedule == "cosine":
        return tf.compat.v1.train.cosine_decay(options.base_learning_rate, global_step, max_steps)
    return tf.compat.v1.train.exponential_decay(
        options.base_learning_rate,
        tf.cast(global_step, tf.int64) * examples_per_step,
        options.learning_rate_decay_examples,
        options.learning_rate_decay,
        staircase=True,
    )


class TrainingStep(NamedTuple):
    """One training step: `train_op`, and `total`, the sum of the replicas' signals; None if there is no signal."""

    train_op: Any
    total: Any


def minimize(optimizer: Any, loss: Any, *, global_step: Any, clip_norm: float, signal: Any = None) -> TrainingStep:
    """One training step: gradients, reduced over the replicas, then clipped a variable, then applied.

    The order makes n replicas at batch b take the path of one process at batch n b. An optimizer of
    tf.compat.v1.train sums over replicas inside `apply_gradients` (and Estimator divides the loss by their number), so
    what is already reduced is divided by their number once more.

    Args:
      optimizer: of tf.compat.v1.train.
      loss: scalar, the mean over this replica's batch.
      global_step: the variable to increment.
      clip_norm: largest L2 norm of one variable's gradient; 0 does not clip.
      signal: a float32 tensor to be summed over the replicas on the way; None sums nothing.
    """
    pairs = [(g, v) for g, v in optimizer.compute_gradients(loss) if g is not None]
    gradients = [tf.convert_to_tensor(gradient) for gradient, _ in pairs]
    context = tf.distribute.get_replica_context()
    replicas = context.num_replicas_in_sync if context is not None else 1
    total = signal
    if replicas > 1 and (clip_norm or signal is not None):
        # The signal goes with the gradients: a collective operation of its own would cost a round trip.
        summed = context.all_reduce(tf.distribute.ReduceOp.SUM, [*gradients, *([] if signal is None else [signal])])
        gradients, total = (summed, None) if signal is None else (summed[:-1], summed[-1])
        gradients = [(tf.clip_by_norm(g, clip_norm) if clip_norm else g) / replicas for g in gradients]
    elif clip_norm:
        gradients = [tf.clip_by_norm(gradient, clip_norm) for gradient in gradients]
    train_op = optimizer.apply_gradients(zip(gradients, [v for _, v in pairs], strict=True), global_step=global_step)
    return TrainingStep(train_op, total)
