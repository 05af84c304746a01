"""One worker of an evaluation: the class of a Ray actor that evaluates its share of the batches of a checkpoint.

Imported by the driver too, so TensorFlow is imported only where it is needed: in `load`, in the worker's process.
"""

from __future__ import annotations

import contextlib
import os
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cvd_cluster.errors import RoleError
from estimators.checkpoints.checkpoint_files import Checkpoint
from estimators.errors import HarnessError
from estimators.experiment_options import ExperimentOptions
from estimators.inputs.data_check import DataFiles
from estimators.inputs.skipped_records import SkippedRecords
from estimators.metrics import EvaluationMetrics
from estimators.promised_gpus import check_gpus
from estimators.tensorflow_compat import quiet_tensorflow

if TYPE_CHECKING:
    from estimators.evaluation.evaluation_graph import EvaluationGraph


@dataclass(frozen=True, kw_only=True)
class WorkerPart:
    """What one worker evaluates.

    Attributes:
      options: of the training run; its paths are absolute.
      data: the validation files, all of them.
      batch_size: records a batch.
      index: which worker it is; the first is 0.
      count: how many workers there are.
      with_gpu: whether Ray set a GPU aside for it; without, it sees none.
    """

    options: ExperimentOptions
    data: DataFiles
    batch_size: int
    index: int
    count: int
    with_gpu: bool


@dataclass(frozen=True)
class PartialEvaluation:
    """What a worker found.

    Attributes:
      metrics: of its batches.
      skipped: which records it left out, and why.
    """

    metrics: EvaluationMetrics
    skipped: tuple[str, ...]


class _Told(SkippedRecords):
    """Keeps what is told of each bad record, for the driver, which names and counts those of all workers."""

    def __init__(self) -> None:
        super().__init__(announce=lambda line: None)
        self.records: list[str] = []

    def add(self, what: object) -> None:
        """One record is left out."""
        self.records.append(str(what))


class EvaluationWorker:
    """Holds a graph and a session of its part, which are made once, when they are first needed.

    Args:
      part: what it evaluates.
    """

    def __init__(self, part: WorkerPart) -> None:
        self._part = part
        self._skipped = _Told()
        self._graph: EvaluationGraph | None = None

    def load(self) -> None:
        """Imports TensorFlow and builds the graph.

        Raises:
          UserError: the model or the loss does not fit; a RoleError is an error of theirs.
        """
        with self._told():
            self._loaded()

    def evaluate(self, checkpoint: Checkpoint) -> PartialEvaluation:
        """Evaluates this worker's part of one checkpoint.

        Raises:
          UnreadableCheckpointError: it cannot be restored.
          DataError: a record is damaged.
          UserError: see `load`.
        """
        with self._told():
            graph = self._loaded()
            metrics = EvaluationMetrics()
            self._skipped.records.clear()
            for batch in graph.batches(checkpoint):
                metrics.add(batch.predictions, batch.labels, float(batch.loss))
            return PartialEvaluation(metrics, tuple(self._skipped.records))

    def _loaded(self) -> EvaluationGraph:
        if self._graph is None:
            if not self._part.with_gpu:
                # Ray hides the GPUs from nobody who asked for none, and TensorFlow takes all their memory.
                os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
            # Ray sets it to 1; the processor's threads are to be those of an evaluation without Ray.
            os.environ.pop("OMP_NUM_THREADS", None)
            quiet_tensorflow()
            from estimators.evaluation.evaluation_graph import EvaluationGraph
            from estimators.inputs.worker_shards import shard_for_evaluator

            check_gpus(float(self._part.with_gpu))
            part = self._part
            self._graph = EvaluationGraph(
                part.options,
                part.data,
                batch_size=part.batch_size,
                skipped=self._skipped,
                part=shard_for_evaluator(part.data, part.index, part.count, part.batch_size),
            )
        return self._graph

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        """An error that is not for people arrives at the driver with its traceback; not all can be pickled."""
        try:
            yield
        except HarnessError:
            raise
        except Exception as error:
            raise RoleError(
                f"Evaluation worker {self._part.index} failed: {type(error).__name__}",
                found=traceback.format_exc().strip(),
                change="the code that the traceback names",
            ) from None
