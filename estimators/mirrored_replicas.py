"""The replicas of `--strategy=mirrored`: one a GPU of this machine, or logical CPU devices where there is none."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
from tensorflow.core.protobuf.rewriter_config_pb2 import RewriterConfig

from estimators.errors import InfeasibleError
from estimators.training_plan import Strategy


def count_replicas(asked: int | None) -> int:
    """How many replicas this machine is to have.

    Args:
      asked: --num_replicas; None takes every GPU.

    Raises:
      InfeasibleError: there are fewer GPUs than that; or no GPU, and no number was asked for.
    """
    gpus = len(tf.config.list_physical_devices("GPU"))
    if asked is None:
        if not gpus:
            raise InfeasibleError(
                "--strategy=mirrored takes all GPUs of this machine, and it has none",
                asked="--strategy=mirrored",
                found="TensorFlow sees no GPU",
                change="--strategy=local, or --num_replicas=2 to try it with two replicas on the CPU; if nvidia-smi "
                "shows GPUs, install TensorFlow's CUDA libraries: pip install -c constraints.txt -e '.[cuda]'",
            )
        return gpus
    if gpus and asked > gpus:
        raise InfeasibleError(
            "There are fewer GPUs than replicas",
            asked=f"--num_replicas={asked}",
            found=f"{gpus} GPUs",
            change="--num_replicas, or leave it out to take every GPU",
        )
    return asked


def divide_processor(replicas: int) -> None:
    """Gives each replica a logical CPU device where there is no GPU.

    Call it before anything else of TensorFlow runs (to build a graph with `tf.cond` is enough): a CPU is divided once.
    """
    cpu = tf.config.list_physical_devices("CPU")[0]
    undivided = len(tf.config.get_logical_device_configuration(cpu) or ()) != replicas
    if undivided and not tf.config.list_physical_devices("GPU"):
        tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * replicas)


def mirrored_strategy(replicas: int) -> Any:
    """A MirroredStrategy with a GPU, or a logical CPU device, a replica."""
    divide_processor(replicas)
    kind = "gpu" if tf.config.list_physical_devices("GPU") else "cpu"
    return tf.distribute.MirroredStrategy([f"/{kind}:{index}" for index in range(replicas)])


def session_config(strategy: Strategy, replicas: int, *, log_device_placement: bool) -> Any:
    """What the training session is told of devices; the rest is as Estimator sets it by default."""
    config = tf.compat.v1.ConfigProto(log_device_placement=log_device_placement, allow_soft_placement=True)
    config.graph_options.rewrite_options.meta_optimizer_iterations = RewriterConfig.ONE
    if strategy == "mirrored" and not tf.config.list_physical_devices("GPU"):
        config.device_count["CPU"] = replicas  # without it the first step never ends
    return config
