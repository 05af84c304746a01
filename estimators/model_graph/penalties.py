"""Penalties that layers put into the graph's collection, counted once whatever the number of replicas."""

from __future__ import annotations

import threading
from typing import Any

import tensorflow as tf

from estimators.model_graph.graph_search import depends_on


def collected_penalties(optimizer: Any, model_input: Any) -> list[Any]:
    """What layers, `get_variable` and the model itself put into REGULARIZATION_LOSSES, for this replica.

    Replicas in one process share the collection. A penalty on a layer's weights is in it once, taken of the first
    replica's copy of that weight: to any other replica it is a constant without a gradient, and the mean over n
    replicas would leave 1/n of it. One that `create_model` itself adds is in it n times, each of another replica's
    copy. So of either kind the first replica counts its own n times, and the others none. A penalty on activations,
    which depends on this replica's examples, is there once for each replica, and counted so. One that `get_variable`
    was given is no tensor yet: it is computed anew wherever it is used, so each replica has its own.

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

    # TensorFlow builds each replica's graph in a thread of its own (mirrored_run.py), which knows its number.
    is_first = getattr(threading.current_thread(), "replica_id", 0) == 0

    def times(penalty: Any) -> int:
        if not isinstance(penalty, tf.Tensor) or depends_on(penalty.op, {model_input.op.name}):
            return 1
        return replicas if is_first else 0

    counted = [(times(penalty), penalty) for penalty in collected if has_gradient(penalty)]
    return [n * penalty if n > 1 else penalty for n, penalty in counted if n]
