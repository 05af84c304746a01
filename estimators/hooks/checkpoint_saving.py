"""Saves checkpoints, and on the chief exports and prunes after each."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import tensorflow as tf


class AfterCheckpoint(tf.estimator.CheckpointSaverListener):  # type: ignore[misc]
    """Calls a function once a checkpoint is complete.

    Args:
      saved: called with (global step, whether it is the last of the run). A last step that was saved before, since it
        was due anyway, is told once more as the last.
    """

    def __init__(self, saved: Callable[[int, bool], None]) -> None:
        self._saved = saved

    def after_save(self, session: Any, global_step_value: Any) -> None:
        """A checkpoint was written."""
        self._saved(int(global_step_value), False)

    def end(self, session: Any, global_step_value: Any) -> None:
        """Training ended, and its last step is written."""
        self._saved(int(global_step_value), True)


def checkpoint_hook(folder: str, *, every_steps: int, saved: Callable[[int, bool], None] | None) -> Any:
    """A hook that saves at the start, every so many steps, and at the end.

    It replaces the one that Estimator would add: with `train_distribute` Estimator drops saving listeners. Under
    MultiWorkerMirrored every worker must save in the same step, since saving may run collective operations; those that
    are not the chief save into a folder of their own.

    Args:
      folder: where to.
      every_steps: global steps between two checkpoints.
      saved: see `AfterCheckpoint`; None calls nothing.
    """
    os.makedirs(folder, exist_ok=True) if "://" not in folder else tf.io.gfile.makedirs(folder)
    return tf.estimator.CheckpointSaverHook(
        folder,
        save_steps=every_steps,
        listeners=[AfterCheckpoint(saved)] if saved else None,
        save_graph_def=False,  # experiment.json says how to build the graph; writing it takes longer than the variables
    )
