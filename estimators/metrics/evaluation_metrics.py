"""All metrics of one evaluation, gathered batch by batch and, where several processes share the work, part by part.

    part = EvaluationMetrics()           # in each process; a part pickles as plain NumPy arrays
    part.add(predictions, labels, loss)  # for each batch
    whole = EvaluationMetrics()
    for part in parts:                   # in any order
        whole.merge(part)
    whole.result().to_json()

The parts may be the work of other processes, and of any number of them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from estimators.metrics.average_precision import ranked_precision
from estimators.metrics.checked_arrays import Labels, Predictions, checked_batch
from estimators.metrics.hit_at_one import count_hits
from estimators.metrics.mean_average_precision import mean_ranked_precision
from estimators.metrics.precision_at_equal_recall import Counts, count_by_labels, mean_precision


@dataclass(frozen=True, kw_only=True)
class EvaluationResult:
    """The metrics of `examples` photos; each is defined in the module of its name.

    With no examples the shares are 0.0 and the loss, which has no worst value, is NaN.
    """

    examples: int
    hit_at_one: float
    perr: float
    mean_average_precision: float
    global_average_precision: float
    loss: float

    def to_json(self) -> dict[str, int | float | None]:
        """A JSON object; a loss that is infinite or NaN becomes None, since JSON has no name for it."""
        return {
            "examples": self.examples,
            "hit_at_1": self.hit_at_one,
            "perr": self.perr,
            "map": self.mean_average_precision,
            "gap": self.global_average_precision,
            "loss": self.loss if math.isfinite(self.loss) else None,
        }


class EvaluationMetrics:
    """Gathers batches and gives their metrics; parts merged in any order give the bits that the whole gives.

    Ranking metrics cannot be exact from a summary, so every prediction is kept: 5 bytes a photo and column (9 for
    float64 predictions). Everything else is kept as whole numbers, and the loss as one number a batch.

    An object pickles as NumPy arrays and plain numbers. It is not safe to `add` from several threads at once.
    """

    def __init__(self) -> None:
        self._predictions: list[Predictions] = []
        self._labels: list[Labels] = []
        self._loss_sums: list[float] = []
        self._examples = 0
        self._hits = 0
        self._photos_by_count: Counts = np.zeros(0, np.int64)
        self._hits_by_count: Counts = np.zeros(0, np.int64)

    def add(self, predictions: npt.ArrayLike, labels: npt.ArrayLike, loss: float) -> None:
        """Adds a batch; an empty one changes nothing.

        Args:
          predictions: [N, 1] (one sigmoid column) or [N, K]; copied, so the caller may use the array again.
          labels: 0/1, same shape.
          loss: the batch's mean loss; the result weighs it by N.

        Raises:
          ValueError: see `checked_batch`; or the batch has another number of columns than those before. Nothing is
            added then.
        """
        scores, truth = checked_batch(predictions, labels)
        if not len(scores):
            return
        part = EvaluationMetrics()
        part._predictions, part._labels = [scores], [truth]
        part._loss_sums = [float(loss) * len(scores)]
        part._examples = len(scores)
        part._hits = count_hits(scores, truth)
        part._photos_by_count, part._hits_by_count = count_by_labels(scores, truth)
        self.merge(part)

    def merge(self, other: EvaluationMetrics) -> None:
        """Adds all that `other` has gathered; `other` stays as it is.

        Raises:
          ValueError: the two have predictions with different numbers of columns. Nothing is added then.
        """
        if not other._examples:
            return
        if not self._examples:
            self._photos_by_count = np.zeros_like(other._photos_by_count)
            self._hits_by_count = np.zeros_like(other._hits_by_count)
        elif self._predictions[0].shape[1] != other._predictions[0].shape[1]:
            raise ValueError(
                f"predictions with {other._predictions[0].shape[1]} columns cannot join "
                f"predictions with {self._predictions[0].shape[1]}"
            )
        self._predictions.extend(other._predictions)
        self._labels.extend(other._labels)
        self._loss_sums.extend(other._loss_sums)
        self._examples += other._examples
        self._hits += other._hits
        # Not in place: after unpickling, Ray hands out arrays that are read-only.
        self._photos_by_count = self._photos_by_count + other._photos_by_count
        self._hits_by_count = self._hits_by_count + other._hits_by_count

    def result(self) -> EvaluationResult:
        """The metrics of everything gathered so far; gathering may go on afterwards."""
        if not self._examples:
            return EvaluationResult(
                examples=0,
                hit_at_one=0.0,
                perr=0.0,
                mean_average_precision=0.0,
                global_average_precision=0.0,
                loss=math.nan,
            )
        predictions, labels = np.concatenate(self._predictions), np.concatenate(self._labels)
        return EvaluationResult(
            examples=self._examples,
            hit_at_one=self._hits / self._examples,
            perr=mean_precision(self._photos_by_count, self._hits_by_count),
            mean_average_precision=mean_ranked_precision(predictions, labels),
            global_average_precision=ranked_precision(predictions.ravel(), labels.ravel()),
            loss=_sum(self._loss_sums) / self._examples,
        )


def _sum(values: list[float]) -> float:
    """The sum, rounded once, so that order does not matter; infinite or NaN where it must be, never an error."""
    try:
        return math.fsum(values)
    except (OverflowError, ValueError):  # the sum is too large, or holds both infinities
        return sum(values)
