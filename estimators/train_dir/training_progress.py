"""How far training is and how fast, in `train_dir/progress.json`, for those who look from outside. TensorFlow-free."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass

from estimators import storage

PROGRESS_FILE = "progress.json"
_EVERY_SECS = 2.0


@dataclass(frozen=True)
class TrainingProgress:
    """What the chief reported last.

    Attributes:
      time: seconds since the epoch.
      global_step: the step it reported.
      examples_per_second: over all replicas, since the report before.
      metrics: of the batch of that step.
    """

    time: float
    global_step: int
    examples_per_second: float
    metrics: Mapping[str, float]


class ProgressFile:
    """Writes progress every few seconds at most; the chief's.

    Args:
      train_dir: the folder.
      clock: seconds since the epoch.
    """

    def __init__(self, train_dir: str, clock: Callable[[], float] = time.time) -> None:
        self._path, self._clock, self._written_at = os.path.join(train_dir, PROGRESS_FILE), clock, float("-inf")
        self._unwritten: TrainingProgress | None = None

    def write(self, global_step: int, examples_per_second: float, metrics: Mapping[str, float]) -> None:
        """Writes it, if the last time is long enough ago. That it cannot be written ends no training."""
        now = self._clock()
        self._unwritten = TrainingProgress(now, global_step, examples_per_second, dict(metrics))
        if now - self._written_at >= _EVERY_SECS:
            self._written_at = now
            self.finish()

    def finish(self) -> None:
        """Writes what was told last, if it is not written yet."""
        if self._unwritten is not None:
            with contextlib.suppress(Exception):
                storage.write_text(self._path, json.dumps(asdict(self._unwritten)) + "\n")
            self._unwritten = None


def read_progress(train_dir: str) -> TrainingProgress | None:
    """What was written last, or None."""
    path = os.path.join(train_dir, PROGRESS_FILE)
    if not storage.exists(path):
        return None
    try:
        return TrainingProgress(**json.loads(storage.read_text(path)))
    except (OSError, ValueError, TypeError):
        return None
