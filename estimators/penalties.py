"""Penalties that layers put into the graph's collection, counted once whatever the number of replicas."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from estimators.graph_search import depends_on


def collected_penalties(optimizer: Any, model_input: Any) -> list[Any]:
    """What `tf.compat.v1.layers`, `tf_slim` and `get_variable` put into REGULARIZATION_LOSSES, for this replica.

    Replicas in one process share the collection. The penalty on a weight is in it once, taken of the first replica's
    copy of that weight: to any other replica it is a constant without a gradient, and the mean over n replicas
    would leave 1/n of it. So the first replica counts it n times and the others not at all. A penalty on
    activations, which depends on this replica's examples, is in the collection once for each replica.

    Args:
      optimizer: of tf.compat.v1.train; says which penalties have a gradient here.
      model_input: the pictures of this replica.

    Returns:
      Scalars, to be added to the loss of this replica.
    """
    collected = list(tf.compat.v1.losses.get_regularization_losses())
    if not tf.distribute.has_strategy():
        return collected
    replicas = len(tf.distribute.get_strategy().extended.worker_devices)
    if replicas == 1:
        return collected
    here = [loss for loss in collected if any(g is not None for g, _ in optimizer.compute_gradients(loss))]
    return [loss if depends_on(loss.op, {model_input.op.name}) else replicas * loss for loss in here]
