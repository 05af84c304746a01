"""Tells the reporter that this process takes part in training."""

from __future__ import annotations

import time
from typing import Any

import tensorflow as tf

from estimators.processes.reporting import Reporter

_SECONDS_BETWEEN = 0.5


class ProgressHook(tf.estimator.SessionRunHook):  # type: ignore[misc]
    """Reports the first step at once, later ones at most twice a second, and the last."""

    def __init__(self, reporter: Reporter) -> None:
        self._reporter = reporter
        self._local_steps = 0
        self._global_step = 0
        self._reported_at = 0.0

    def begin(self) -> None:
        """Finds the step counter in the finished graph."""
        self._tensor = tf.compat.v1.train.get_global_step()

    def before_run(self, run_context: Any) -> Any:
        """Asks for the step."""
        return tf.estimator.SessionRunArgs(self._tensor)

    def after_run(self, run_context: Any, run_values: Any) -> None:
        """Counts the step."""
        self._local_steps += 1
        self._global_step = int(run_values.results)
        if time.monotonic() - self._reported_at >= _SECONDS_BETWEEN:
            self._report()

    def end(self, session: Any) -> None:
        """Reports the last step."""
        self._global_step = int(session.run(self._tensor))
        self._report()

    def _report(self) -> None:
        self._reported_at = time.monotonic()
        self._reporter.progress(self._global_step, self._local_steps)
