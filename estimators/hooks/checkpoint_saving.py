"""Saves checkpoints, and on the chief exports and prunes after each."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from estimators import storage


class AroundCheckpoint(tf.estimator.CheckpointSaverListener):  # type: ignore[misc]
    """Calls a function before a checkpoint is written, and one once it is complete.

    Args:
      check: called before, with the session; what it raises keeps the checkpoint from being written.
      saved: called with (global step, whether it is the last of the run). A last step that was saved before, since it
        was due anyway, is told once more as the last.
    """

    def __init__(self, check: Callable[[Any], None], saved: Callable[[int, bool], None]) -> None:
        self._check, self._saved = check, saved

    def before_save(self, session: Any, global_step_value: Any) -> None:
        """A checkpoint is about to be written."""
        self._check(session)

    def after_save(self, session: Any, global_step_value: Any) -> None:
        """A checkpoint was written."""
        self._saved(int(global_step_value), False)

    def end(self, session: Any, global_step_value: Any) -> None:
        """Training ended, and its last step is written."""
        self._saved(int(global_step_value), True)


class AtMultiples:
    """Says when a checkpoint is due: at, or when other replicas jump over it first past, a multiple of any period.

    It takes the place of CheckpointSaverHook's own timer, which counts from the last save and knows one period.

    Args:
      periods: global steps.
      clock: seconds.
    """

    def __init__(self, *periods: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._periods, self._clock = periods, clock
        self._last: int | None = None
        self._last_time: float | None = None
        self._forced = False

    def force(self) -> None:
        """Makes a checkpoint due at once, whatever the step."""
        self._forced = True

    def should_trigger_for_step(self, step: int) -> bool:
        """True if a multiple lies between the last save and `step`, or nothing was saved yet, or it was forced."""
        last = self._last
        if self._forced and step != last:
            return True
        return last is None or any(step // period > last // period for period in self._periods)

    def update_last_triggered_step(self, step: int) -> tuple[None, None]:
        """A checkpoint of this step was saved; the hook asks for elapsed seconds and steps, and uses neither."""
        self._last, self._last_time, self._forced = int(step), self._clock(), False
        return None, None

    def last_triggered_step(self) -> int | None:
        """The step that was saved last, or None."""
        return self._last

    def last_triggered_time(self) -> float | None:
        """When that was, by the clock, or None."""
        return self._last_time


def checkpoint_hook(
    folder: str,
    *,
    timer: AtMultiples,
    check: Callable[[Any], None] = lambda session: None,
    saved: Callable[[int, bool], None] = lambda step, is_last: None,
) -> Any:
    """A hook that saves at the start, when its timer says so, and at the end.

    It replaces the one that Estimator would add: with `train_distribute` Estimator drops saving listeners. Under
    MultiWorkerMirrored every worker must save in the same step, since saving may run collective operations; those that
    are not the chief save into a folder of their own.

    Args:
      folder: where to.
      timer: says when a checkpoint is due.
      check: see `AroundCheckpoint`.
      saved: see `AroundCheckpoint`.
    """
    storage.make_dirs(folder)
    hook = tf.estimator.CheckpointSaverHook(
        folder,
        save_steps=1,  # what follows from it is replaced below
        listeners=[AroundCheckpoint(check, saved)],
        save_graph_def=False,  # experiment.json says how to build the graph; writing it takes longer than the variables
    )
    hook._timer = timer
    return hook
