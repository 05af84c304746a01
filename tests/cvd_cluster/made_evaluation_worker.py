"""A stand-in for an EvaluationWorker, in a module that a Ray actor imports quickly."""

from __future__ import annotations

import os
from typing import Any

from cvd_cluster.evaluation.evaluation_worker import PartialEvaluation
from estimators.checkpoints.checkpoint_files import Checkpoint
from estimators.metrics import EvaluationMetrics


class MadeWorker:
    """Evaluates without TensorFlow: as many pictures as its index says, and one more.

    Args:
      index: its place.
      on_evaluate: what it does first when asked for the n-th time (from 0): "die", or raise what it is.
    """

    def __init__(self, index: int, on_evaluate: dict[int, Any]) -> None:
        self._index, self._on_evaluate, self._asked = index, on_evaluate, 0

    def load(self) -> None:
        """Has nothing to load."""

    def evaluate(self, checkpoint: Checkpoint) -> PartialEvaluation:
        happens = self._on_evaluate.get(self._asked)
        self._asked += 1
        if happens == "die":
            os._exit(9)
        if happens is not None:
            raise happens
        metrics = EvaluationMetrics()
        for number in range(self._index + 1):
            metrics.add([[0.5 + number / 100]], [[number % 2]], float(checkpoint.step))
        return PartialEvaluation(metrics, (f"of {self._index}",))
