"""`python -m tests.estimators.two_replicas`: trains alone and on two replicas, prints the weights of both as JSON.

A process of its own: one processor can be split into two devices only before TensorFlow is first used.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from estimators.model_graph.optimizers import TrainingStep, minimize
from estimators.model_graph.penalties import collected_penalties

_BATCH = 16
_STEPS = 10


def clip_before_reducing(
    optimizer: Any, loss: Any, *, global_step: Any, clip_norm: float, signal: Any = None
) -> TrainingStep:
    """The mistake: each replica clips its own gradients, to its part of the norm, before they are summed."""
    assert signal is None
    norm = clip_norm / tf.distribute.get_replica_context().num_replicas_in_sync
    pairs = [(tf.clip_by_norm(gradient, norm), v) for gradient, v in optimizer.compute_gradients(loss)]
    return TrainingStep(optimizer.apply_gradients(pairs, global_step=global_step), None)


def train(
    replicas: int, clip_norm: float, penalized: bool, minimize: Callable[..., TrainingStep] = minimize
) -> list[float]:
    """The weights after some steps with the same examples a step, on so many replicas.

    Penalized: a penalty on weights by `get_variable`, one on weights that the model itself adds, as a layer's is in
    TensorFlow's collection whoever reads it, and one on activations, which is there once for each replica.
    """
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(_BATCH * _STEPS, 5)).astype(np.float32)
    targets = (inputs @ np.arange(5) * 3).astype(np.float32)

    def model_fn(features: Any, labels: Any, mode: str) -> Any:
        weights = tf.compat.v1.get_variable(
            "weights",
            [5],
            initializer=tf.compat.v1.zeros_initializer(),
            regularizer=tf.nn.l2_loss if penalized else None,
        )
        outputs = tf.linalg.matvec(features, weights)
        loss = tf.reduce_mean(tf.square(outputs - labels))
        global_step = tf.compat.v1.train.get_or_create_global_step()
        optimizer = tf.compat.v1.train.GradientDescentOptimizer(0.02)  # another optimizer would hide a wrong factor
        if penalized:
            collection = tf.compat.v1.GraphKeys.REGULARIZATION_LOSSES
            tf.compat.v1.add_to_collection(collection, tf.reduce_mean(tf.square(outputs)))
            tf.compat.v1.add_to_collection(collection, 0.5 * tf.nn.l2_loss(weights))
            loss += tf.add_n(collected_penalties(optimizer, features))
        train_op = minimize(optimizer, loss, global_step=global_step, clip_norm=clip_norm).train_op
        return tf.estimator.EstimatorSpec(mode, loss=loss, train_op=train_op)

    def input_fn() -> Any:
        return tf.data.Dataset.from_tensor_slices((inputs, targets)).batch(_BATCH // replicas)

    devices = [f"/cpu:{index}" for index in range(replicas)]
    config = tf.estimator.RunConfig(
        train_distribute=tf.distribute.MirroredStrategy(devices) if replicas > 1 else None,
        # Otherwise the first step of a run on two devices never ends.
        session_config=tf.compat.v1.ConfigProto(device_count={"CPU": 2}),
        save_summary_steps=None,
        log_step_count_steps=None,
    )
    with tempfile.TemporaryDirectory() as folder:
        estimator = tf.estimator.Estimator(model_fn, model_dir=folder, config=config)
        estimator.train(input_fn, max_steps=_STEPS)
        values: list[float] = estimator.get_variable_value("weights").tolist()
    return values


def main() -> None:
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    cases: dict[str, Any] = {
        "plain": (0.0, False),
        "clipped": (1.0, False),
        "penalized": (0.0, True),
        "clipped before": (1.0, False, clip_before_reducing),
    }
    print(json.dumps({name: [train(replicas, *case) for replicas in (1, 2)] for name, case in cases.items()}))


if __name__ == "__main__":
    main()
