"""One process of the comparison in test_synchronous_training.py:

    python -m tests.integration.synchronous_path FOLDER WORKERS REPLICAS [clip-before] MODEL:LEARNING_RATE:STEPS …

trains each of the cases in a folder of its name. With TF_CONFIG set it is one of WORKERS MultiWorkerMirrored workers
and takes its part of each batch of 128 (of one case only: a process serves one cluster); with several REPLICAS it is
one process that divides each batch among them; otherwise it takes all of each batch. The examples are the same whoever
trains, and come in the same order. With "clip-before" it makes a mistake that the comparison must see.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

import numpy as np

from estimators.experiment_options import ExperimentOptions
from estimators.tensorflow_compat import quiet_tensorflow

quiet_tensorflow()
import tensorflow as tf  # noqa: E402

import estimators.model_graph.model_fn  # noqa: E402
from estimators.hooks.agreed_requests import AgreedRequests  # noqa: E402
from estimators.mirrored_replicas import mirrored_strategy, session_config  # noqa: E402
from estimators.model_graph.model_fn import make_model_fn  # noqa: E402
from tests.estimators.two_replicas import clip_before_reducing  # noqa: E402

GLOBAL_BATCH = 128


def _examples(steps: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    random = np.random.default_rng(7)
    labels = random.integers(0, 2, size=steps * GLOBAL_BATCH)
    pictures = random.normal(size=(len(labels), 16, 16, 3)).astype(np.float32) * 0.3
    pictures[:, :8] += (labels[:, None, None, None] - 0.5).astype(np.float32)  # something to learn
    return pictures.clip(-1, 1), labels


def _input_fn(steps: int, worker: int, workers: int, replicas: int) -> Any:
    pictures, labels = _examples(steps)
    mine = np.arange(len(labels)).reshape(steps, workers, -1)[:, worker].reshape(-1)

    def input_fn() -> Any:
        dataset = tf.data.Dataset.from_tensor_slices(({"image": pictures[mine]}, labels[mine]))
        options = tf.data.Options()
        options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
        # Each replica of a process takes the next batch.
        return dataset.batch(GLOBAL_BATCH // workers // replicas).with_options(options)

    return input_fn


def main() -> None:
    folder, workers, replicas = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    strategy, session = None, None
    if "TF_CONFIG" in os.environ:
        strategy = tf.compat.v1.distribute.experimental.MultiWorkerMirroredStrategy()
    elif replicas > 1:
        strategy = mirrored_strategy(replicas)
        session = session_config("mirrored", replicas, log_device_placement=False)
    cases = sys.argv[4:]
    if cases[0] == "clip-before":
        vars(estimators.model_graph.model_fn)["minimize"] = clip_before_reducing
        del cases[0]
    for case in cases:
        model, learning_rate, steps = case.split(":")
        options = ExperimentOptions(
            train_dir=os.path.join(folder, case),
            train_data_pattern="none",
            model=model,
            base_learning_rate=float(learning_rate),
            # Fixed, since Adam divides by a gradient's own size: from some initial values a weight has hardly any
            # gradient, and its last bits, which depend on the order of addition, become whole steps (with seed 4, 2e-4
            # after 50).
            seed=1,
            # Both are felt: without them clipping in the wrong place would not show.
            clip_gradient_norm=0.02,
            regularization_penalty=1e5,
        )
        config = tf.estimator.RunConfig(
            model_dir=options.train_dir,
            tf_random_seed=1,
            train_distribute=strategy,
            session_config=session,
            save_checkpoints_steps=int(steps),
            save_summary_steps=10_000,  # under a strategy TensorFlow saves no checkpoint without summaries
        )
        _train(options, config, int(steps), workers, replicas)


def _train(options: ExperimentOptions, config: Any, steps: int, workers: int, replicas: int) -> None:
    task = json.loads(os.environ.get("TF_CONFIG", "{}")).get("task", {})
    worker = 0 if task.get("type", "chief") == "chief" else task["index"] + 1
    # As in a run: what workers ask of each other travels with the gradients.
    requests = AgreedRequests() if task else None
    model_fn = make_model_fn(options, examples_per_step=GLOBAL_BATCH, requests=requests)
    estimator = tf.estimator.Estimator(model_fn, config=config)
    spec = tf.estimator.TrainSpec(_input_fn(steps, worker, workers, replicas), max_steps=steps)
    if task:
        tf.estimator.train_and_evaluate(estimator, spec, tf.estimator.EvalSpec(spec.input_fn))
    else:
        estimator.train(spec.input_fn, max_steps=spec.max_steps)


if __name__ == "__main__":
    main()
