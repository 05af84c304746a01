"""Evaluates checkpoints in this process, and says after each batch how far it is."""

from __future__ import annotations

import time

from estimators.checkpoints.checkpoint_files import Checkpoint
from estimators.evaluation.checkpoint_evaluator import EvaluationReport, progress_line
from estimators.evaluation.evaluation_graph import EvaluationGraph
from estimators.experiment_options import ExperimentOptions
from estimators.inputs.data_check import DataFiles
from estimators.inputs.skipped_records import SkippedRecords
from estimators.metrics import EvaluationMetrics, EvaluationResult, batch_metrics


class LocalEvaluator:
    """A `CheckpointEvaluator` without Ray.

    Args:
      options: of the training run.
      data: the validation files.
      batch_size: records a batch.
      report: where lines go.

    Raises:
      UserError: the model or the loss does not fit.
    """

    def __init__(
        self, options: ExperimentOptions, data: DataFiles, *, batch_size: int, report: EvaluationReport
    ) -> None:
        self._report = report
        self._skipped = SkippedRecords(report.line)
        self._graph = EvaluationGraph(options, data, batch_size=batch_size, skipped=self._skipped)

    def evaluate(self, checkpoint: Checkpoint) -> EvaluationResult:
        """The metrics of one checkpoint over all examples. See `EvaluationGraph.batches` for what it raises."""
        metrics = EvaluationMetrics()
        started = time.monotonic()
        examples = 0
        for batch in self._graph.batches(checkpoint):
            metrics.add(batch.predictions, batch.labels, float(batch.loss))
            examples += len(batch.labels)
            hit_at_one, perr, _ = batch_metrics(batch.predictions, batch.labels)
            seconds = time.monotonic() - started
            self._report.line(
                progress_line(
                    checkpoint.step, examples, seconds, hit_at_one=hit_at_one, perr=perr, loss=float(batch.loss)
                )
            )
            self._report.beat()
        self._skipped.summarize()
        return metrics.result()
