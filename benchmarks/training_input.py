"""How fast training is fed, beside a plain tf.estimator pipeline, in one process and one run:

    python -m benchmarks.training_input --train_data_pattern='/data/train/*' [--rounds=5]

20 epochs of LogisticModel, batch 128, in this process. Both sides train the same model; the plain side has the input
pipeline that a tutorial shows (read, parse, decode, resize, [cache], shuffle, repeat, batch, prefetch) and no hooks but
Estimator's own. Counted is from the first step's start to the last step's end, the first pass over the photos included.
The machine is noisy: the sides take turns, and medians are reported.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from estimators.experiment_options import ExperimentOptions
from estimators.options import Options, option
from estimators.preparation import prepare_run
from estimators.tensorflow_compat import quiet_tensorflow
from estimators.train_dir.experiment_file import begin
from launch.flags import parse_flags, run_command

_EPOCHS, _BATCH, _SIDE = 20, 128, 32


@dataclass(frozen=True, kw_only=True)
class BenchmarkOptions(Options):
    """What to measure on."""

    train_data_pattern: str = option(group="benchmark", help="glob of the training TFRecord files; quote it")
    rounds: int = option(5, group="benchmark", at_least=1, help="times that each side runs")


def _stopwatch() -> Any:
    import tensorflow as tf

    class Stopwatch(tf.estimator.SessionRunHook):  # type: ignore[misc]
        """Measures from the first step's start to the last step's end."""

        started, ended, steps = 0.0, 0.0, 0

        def before_run(self, run_context: Any) -> None:
            self.started = self.started or time.perf_counter()

        def after_run(self, run_context: Any, run_values: Any) -> None:
            self.ended, self.steps = time.perf_counter(), self.steps + 1

    return Stopwatch()


class _Silent:
    """A reporter that says nothing."""

    def line(self, text: str) -> None: ...

    def progress(self, global_step: int, local_steps: int) -> None: ...

    def checkpoint_saved(self, global_step: int) -> None: ...

    def training_finished(self, global_step: int) -> None: ...

    def training_stopped(self, global_step: int) -> None: ...


def _ours(pattern: str, cache: str) -> float:
    """Examples a second of `launch.train`, with all its hooks, checkpoints and lines."""
    from estimators.experiment import Experiment

    class Timed(Experiment):
        """An experiment with a stopwatch beside its hooks."""

        def _hooks(self) -> list[Any]:
            return [*super()._hooks(), watch]

    watch = _stopwatch()
    with tempfile.TemporaryDirectory() as folder:
        options = ExperimentOptions(
            train_dir=f"{folder}/run",
            train_data_pattern=pattern,
            batch_size=_BATCH,
            num_epochs=_EPOCHS,
            cache=cache,
            image_size=_SIDE,
        )
        plan = prepare_run(options, strategy="local", num_workers=1, start_new_model=False, announce=lambda line: None)
        begin(options, start_new_model=False)
        Timed(options, plan, "chief", 0, folder, _Silent(), generation=1).train()
    return float(watch.steps * _BATCH / (watch.ended - watch.started))


def _plain(pattern: str, cache: str) -> float:
    """Examples a second of the pipeline that a tutorial shows."""
    import tensorflow as tf

    from estimators.cvd_models import LogisticModel
    from estimators.losses import CrossEntropyLoss

    def parse(serialized: Any) -> Any:
        fields = tf.io.parse_single_example(
            serialized,
            {
                "image/encoded": tf.io.FixedLenFeature([], tf.string),
                "image/class/label": tf.io.FixedLenFeature([], tf.int64),
            },
        )
        pixels = tf.image.resize(tf.image.decode_jpeg(fields["image/encoded"], channels=3), [_SIDE, _SIDE])
        return pixels / 127.5 - 1.0, tf.cast(fields["image/class/label"], tf.float32)[tf.newaxis]

    def input_fn() -> Any:
        dataset = tf.data.TFRecordDataset(tf.io.gfile.glob(pattern)).map(parse, num_parallel_calls=tf.data.AUTOTUNE)
        if cache == "memory":
            dataset = dataset.cache()
        return dataset.shuffle(1000).repeat(_EPOCHS).batch(_BATCH).prefetch(tf.data.AUTOTUNE)

    def model_fn(features: Any, labels: Any, mode: str) -> Any:
        loss = CrossEntropyLoss().calculate_loss(LogisticModel().create_model(features)["predictions"], labels)
        step = tf.compat.v1.train.get_or_create_global_step()
        train_op = tf.compat.v1.train.AdamOptimizer(0.01).minimize(loss, global_step=step)
        return tf.estimator.EstimatorSpec(mode, loss=loss, train_op=train_op)

    watch = _stopwatch()
    with tempfile.TemporaryDirectory() as folder:
        tf.estimator.Estimator(model_fn, folder).train(input_fn, hooks=[watch])
    return float(watch.steps * _BATCH / (watch.ended - watch.started))


def _measure(name: str, rounds: int, ours: Callable[[], float], plain: Callable[[], float]) -> str:
    pairs = [(ours(), plain()) for _ in range(rounds)]
    ours_median, plain_median = (statistics.median(side) for side in zip(*pairs, strict=True))
    ratios = sorted(one / other for one, other in pairs)
    return (
        f"| {name} | {ours_median:,.0f} | {plain_median:,.0f} | {statistics.median(ratios):.2f} "
        f"({ratios[0]:.2f}–{ratios[-1]:.2f}) |"
    )


def main() -> None:
    """Prints the table."""
    (options,) = parse_flags("benchmarks.training_input", __doc__, BenchmarkOptions)
    quiet_tensorflow()
    print("| cache | launch.train, examples/s | plain Estimator, examples/s | ratio, median (range) |")
    print("| --- | --- | --- | --- |")
    for cache in ("memory", "none"):
        row = _measure(
            cache,
            options.rounds,
            lambda cache=cache: _ours(options.train_data_pattern, cache),  # type: ignore[misc]
            lambda cache=cache: _plain(options.train_data_pattern, cache),  # type: ignore[misc]
        )
        print(row, flush=True)


if __name__ == "__main__":
    run_command(main)
