"""The log line of a training step, and the same numbers for TensorBoard."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from estimators.metrics import BatchMetrics, batch_metrics
from estimators.train_dir.training_progress import ProgressFile


@dataclass(frozen=True)
class StepTensors:
    """Tensors of this replica's batch: predictions and labels [B, C], label loss and learning rate (scalars)."""

    predictions: Any
    labels: Any
    loss: Any
    learning_rate: Any


class StepReportHook(tf.estimator.SessionRunHook):  # type: ignore[misc]
    """Every n steps `training step 270 | Loss: 638.45 Examples/sec: 2011.10 | Hit@1: 0.68 PERR: 0.52 GAP: 0.61`.

    The tensors are fetched in those steps only, and in the first. Other replicas may advance global_step between two
    runs of this one, so a report is due at the first step seen at or past a multiple of n.

    Args:
      tensors: what to report.
      every_n_steps: n.
      examples_per_step: examples that one global step stands for.
      train_dir: folder of the TensorBoard events and of progress.json.
      line: called with each line.
    """

    def __init__(
        self,
        tensors: StepTensors,
        *,
        every_n_steps: int,
        examples_per_step: int,
        train_dir: str,
        line: Callable[[str], None],
    ) -> None:
        self._tensors, self._every, self._examples_per_step = tensors, every_n_steps, examples_per_step
        self._train_dir, self._line = train_dir, line
        self._progress = ProgressFile(train_dir)
        self._step = self._fetched = 0
        # How far global_step went in the last run of this replica; more than 1 if others go on by themselves, who may
        # be far ahead after the first one, which is slow. None before that.
        self._stride: int | None = None
        self._reported_step: int | None = None
        self._reported_at = 0.0

    def begin(self) -> None:
        """Finds the step counter in the finished graph."""
        self._global_step = tf.compat.v1.train.get_global_step()
        self._writer = tf.compat.v1.summary.FileWriterCache.get(self._train_dir)

    def after_create_session(self, session: Any, coord: Any) -> None:
        """Starts counting from the restored step."""
        self._step = self._fetched = int(session.run(self._global_step))
        self._stride = None
        if self._reported_step is None or self._reported_step > self._step:
            self._reported_step, self._reported_at = self._step, time.monotonic()

    def _due(self, step: int) -> bool:
        assert self._reported_step is not None
        return step // self._every > self._reported_step // self._every

    def before_run(self, run_context: Any) -> Any:
        """Asks for the step, and for the tensors if the coming step is to be reported."""
        wanted: dict[str, Any] = {"step": self._global_step}
        # Where others go on too, `_step` may be a stride behind already.
        if self._stride is None or self._due(self._step + (1 if self._stride == 1 else 2 * self._stride)):
            wanted["tensors"] = (
                self._tensors.predictions,
                self._tensors.labels,
                self._tensors.loss,
                self._tensors.learning_rate,
            )
        return tf.estimator.SessionRunArgs(wanted)

    def after_run(self, run_context: Any, run_values: Any) -> None:
        """Reports, if the step just made is due."""
        # The step is fetched beside the train op and may be of before or after it. This replica alone made one step,
        # so the larger of the two is exact where replicas go in step; near a report it is read again for the others.
        fetched = int(run_values.results["step"])
        # It falls slowly: a fetch that came early makes one stride look short and the next one long.
        is_first, before = self._stride is None, self._fetched
        self._stride, self._fetched = max(1, fetched - before, (self._stride or 1) - 1), fetched
        self._step = max(self._step + 1, fetched)
        if "tensors" not in run_values.results:
            return
        self._step = int(run_context.session.run(self._global_step))
        if is_first:
            self._stride = max(1, self._step - before)
        if self._due(self._step):
            self._report(*run_values.results["tensors"])

    def end(self, session: Any) -> None:
        """Those who look from outside are left with the last report."""
        self._progress.finish()

    def _report(self, predictions: Any, labels: Any, loss: float, learning_rate: float) -> None:
        assert self._reported_step is not None
        now = time.monotonic()
        examples = (self._step - self._reported_step) * self._examples_per_step
        speed = examples / max(now - self._reported_at, 1e-9)
        # Predictions are fetched beside the update of the variables, and may be NaN in a step whose loss is not yet;
        # the next loss ends training then, or the look at the variables before they are saved.
        unknown = BatchMetrics(math.nan, math.nan, math.nan)
        hit_at_one, perr, gap = unknown if np.isnan(predictions).any() else batch_metrics(predictions, labels)
        self._line(
            # + 0.0 turns a rounded -0.0 into 0.0.
            f"training step {self._step} | Loss: {round(float(loss), 2) + 0.0:.2f} Examples/sec: {speed:.2f} | "
            f"Hit@1: {hit_at_one:.2f} PERR: {perr:.2f} GAP: {gap:.2f}"
        )
        scalars = {
            "loss": loss,
            "Hit@1": hit_at_one,
            "PERR": perr,
            "GAP": gap,
            "examples_per_second": speed,
            "learning_rate": learning_rate,
        }
        summary = tf.compat.v1.Summary()
        for name, value in scalars.items():
            summary.value.add(tag=name, simple_value=float(value))
        self._writer.add_summary(summary, self._step)
        self._writer.flush()
        metrics = {"loss": float(loss), "hit_at_1": float(hit_at_one), "perr": float(perr), "gap": float(gap)}
        self._progress.write(self._step, speed, {name: one for name, one in metrics.items() if math.isfinite(one)})
        self._reported_step, self._reported_at = self._step, now
