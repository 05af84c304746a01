"""Penalties that layers put into the graph's collection, counted once whatever the number of replicas."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from estimators.graph_search import depends_on


def collected_penalties(optimizer: Any, model_input: Any) -> list[Any]:
    """What `tf.compat.v1.layers`, `tf_slim` and `get_variable` put into REGULARIZATION_LOSSES, for this replica.

    Replicas in one process share the collection. A penalty on a layer's weights is in it once, taken of the first
    replica's copy of that weight: to any other replica it is a constant without a gradient, and the mean over n
    replicas would leave 1/n of it. So the first replica counts it n times and the others not at all. A penalty on
    activations, which depends on this replica's examples, is in the collection once for each replica. One that
    `get_variable` was given is no tensor yet: it is computed anew wherever it is used, so each replica has its own.

    Args:
      optimizer: of tf.compat.v1.train; says which penalties have a gradient here.
      model_input: the pictures of this replica.

    Returns:
      Scalars, to be added to the loss of this replica.
    """
    collected = list(tf.compat.v1.losses.get_regularization_losses())
    replicas = len(tf.distribute.get_strategy().extended.worker_devices) if tf.distribute.has_strategy() else 1
    if replicas == 1:
        return collected

    def has_gradient(penalty: Any) -> bool:
        return any(gradient is not None for gradient, _ in optimizer.compute_gradients(penalty))

    def counted(penalty: Any) -> Any:
        once = not isinstance(penalty, tf.Tensor) or depends_on(penalty.op, {model_input.op.name})
        return penalty if once else replicas * penalty

    return [counted(penalty) for penalty in collected if has_gradient(penalty)]
