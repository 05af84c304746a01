"""Ends asynchronous training at its last step, as nearly as several workers that do not wait for each other can."""

from __future__ import annotations

from typing import Any

import tensorflow as tf


class LastStepHook(tf.estimator.SessionRunHook):  # type: ignore[misc]
    """Begins no step once the last one is made; so all workers together pass it by less than their number.

    TensorFlow's own StopAtStepHook believes the step that it fetched beside the train op, which other workers may have
    left behind since; it then begins one more.

    Args:
      last_step: the global step at which training ends.
      num_workers: that make steps.
    """

    def __init__(self, last_step: int, num_workers: int) -> None:
        self._last, self._workers = last_step, num_workers
        self._fetched: int | None = None

    def begin(self) -> None:
        """Finds the step counter in the finished graph."""
        self._tensor = tf.compat.v1.train.get_global_step()

    def before_run(self, run_context: Any) -> Any:
        """Asks for the step."""
        return tf.estimator.SessionRunArgs(self._tensor)

    def after_run(self, run_context: Any, run_values: Any) -> None:
        """Near the end, reads the step again before another one is begun."""
        fetched = int(run_values.results)
        before, self._fetched = self._fetched, fetched
        near = before is None or fetched + 4 * max(fetched - before, self._workers) >= self._last
        if near and int(run_context.session.run(self._tensor)) >= self._last:
            run_context.request_stop()
