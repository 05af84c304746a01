"""A checkpoint by the clock, or the end of training, at any moment, and in the same step on every worker."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from estimators.hooks.checkpoint_saving import AtMultiples


class AgreedRequests(tf.estimator.SessionRunHook):  # type: ignore[misc]
    """Asks for a checkpoint when one is due by the clock, and ends training after one at a request, of any thread.

    Under MultiWorkerMirrored saving runs collective operations, which hang unless every worker runs them in the same
    step. So a request of one worker is summed over all of them with the gradients of a step, and all obey after that
    step. Elsewhere the process that saves decides for itself.

    Args:
      clock: seconds, for timed checkpoints.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._stop = threading.Event()
        self._timer: AtMultiples | None = None
        self._every_secs: float | None = None
        self._signal: Any = None
        self._agreed: Any = None
        self.stopped = False
        """True once training was ended by a request."""

    def request_stop(self) -> None:
        """A checkpoint after the next step, and then no further one."""
        self._stop.set()

    def attach(self, timer: AtMultiples, *, every_secs: float | None) -> None:
        """Says which saver obeys.

        Args:
          timer: of the saver; the saver must come after this hook.
          every_secs: ask for a checkpoint by itself when the last one is so many seconds old; None does not.
        """
        self._timer, self._every_secs = timer, every_secs

    def new_signal(self) -> Any:
        """float32 [2], what this process asks for in a step, to be summed over all replicas; made in a model_fn."""
        signal = tf.compat.v1.placeholder_with_default([0.0, 0.0], [2])
        # With several replicas in this process the first one speaks for it.
        self._signal = signal if self._signal is None or self._signal.graph is not signal.graph else self._signal
        return signal

    def agree_by(self, total: Any) -> None:
        """`total` is the sum of the signals of a step over all replicas; without it this process decides alone."""
        self._agreed = total

    def before_run(self, run_context: Any) -> Any:
        """Says what this process asks for."""
        wanted = [float(self._save_is_due()), float(self._stop.is_set())]
        if self._agreed is None:
            self._asked = wanted
            return None
        return tf.estimator.SessionRunArgs(self._agreed, feed_dict={self._signal: wanted})

    def after_run(self, run_context: Any, run_values: Any) -> None:
        """Has the saver obey, which comes next, and ends training if that was asked."""
        save, stop = self._asked if self._agreed is None else run_values.results
        if (save or stop) and self._timer is not None:
            self._timer.force()
        if stop:
            self.stopped = True
            run_context.request_stop()

    def _save_is_due(self) -> bool:
        if self._every_secs is None or self._timer is None:
            return False
        saved_at = self._timer.last_triggered_time()
        return saved_at is not None and self._clock() - saved_at >= self._every_secs
