"""Evaluates every checkpoint of a train_dir once, as they come, and ends after the last of a finished run."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from estimators import checkpoints, storage
from estimators.checkpoints import Checkpoint
from estimators.data_check import DataFiles, find_bad_record
from estimators.experiment_options import ExperimentOptions
from estimators.input_fns import eval_input_fn
from estimators.metrics import EvaluationMetrics, EvaluationResult, batch_metrics
from estimators.model_fn import make_model_fn
from estimators.run_state import read_run_state
from estimators.skipped_records import SkippedRecords

_POLL_SECS = 1.0
_MARK_SECS = 5.0


@dataclass(frozen=True)
class EvaluationReport:
    """Where the results go.

    Attributes:
      line: called with each line for people.
      beat: called often, also in the middle of an evaluation, as a sign of life.
    """

    line: Callable[[str], None]
    beat: Callable[[], None]


class Evaluator:
    """A graph and a session that evaluate one checkpoint after the other.

    The graph is built once: `Estimator.evaluate` would build it anew for each checkpoint.

    Args:
      options: of the training run.
      data: the validation files.
      batch_size: examples a batch.
      report: where lines go.

    Raises:
      UserError: the model or the loss does not fit.
    """

    def __init__(
        self, options: ExperimentOptions, data: DataFiles, *, batch_size: int, report: EvaluationReport
    ) -> None:
        self._options, self._data, self._report = options, data, report
        self._skipped = SkippedRecords(report.line)
        self._graph = tf.Graph()
        with self._graph.as_default():
            dataset = eval_input_fn(options, data, batch_size=batch_size, skipped=self._skipped)()
            iterator = tf.compat.v1.data.make_initializable_iterator(dataset)
            tf.compat.v1.train.get_or_create_global_step()
            features, labels = iterator.get_next()
            model_fn = make_model_fn(options, examples_per_step=1)
            spec = model_fn(features, labels, tf.estimator.ModeKeys.EVAL)
            self._fetches = (spec.predictions["predictions"], spec.predictions["labels"], spec.loss)
            self._start = iterator.initializer
            self._local_init = (tf.compat.v1.local_variables_initializer(), tf.compat.v1.tables_initializer())
            self._saver = tf.compat.v1.train.Saver(sharded=True)
        self._session = tf.compat.v1.Session(graph=self._graph)
        self._session.run(self._local_init)

    def evaluate(self, checkpoint: Checkpoint) -> EvaluationResult:
        """The metrics of one checkpoint over all examples.

        Raises:
          DataError: a record is damaged; the message names it.
        """
        with self._graph.as_default():  # outside a graph a Saver takes eager variables
            self._saver.restore(self._session, checkpoint.prefix)
        metrics = EvaluationMetrics()
        started = time.monotonic()
        examples = 0
        for predictions, labels, loss in self._batches():
            metrics.add(predictions, labels, float(loss))
            examples += len(labels)
            hit_at_one, perr, _ = batch_metrics(predictions, labels)
            self._report.line(
                f"examples_processed: {examples} | global_step {checkpoint.step} | Batch Hit@1: {hit_at_one:.3f} | "
                f"Batch PERR: {perr:.3f} | Batch Loss: {loss:.3f} | "
                f"Examples_per_sec: {examples / max(time.monotonic() - started, 1e-9):.3f}"
            )
            self._report.beat()
        self._skipped.summarize()
        return metrics.result()

    def _batches(self) -> Iterator[tuple[Any, Any, Any]]:
        self._session.run(self._start)
        while True:
            try:
                yield self._session.run(self._fetches)
            except tf.errors.OutOfRangeError:
                return
            except (tf.errors.InvalidArgumentError, tf.errors.DataLossError) as error:
                found = find_bad_record(self._data, flag="eval_data_pattern", num_classes=self._options.num_classes)
                raise (found or error) from error


def evaluate_continuously(
    options: ExperimentOptions,
    data: DataFiles,
    *,
    batch_size: int,
    line: Callable[[str], None],
    run_once: bool = False,
    sleep: Callable[[float], None] = time.sleep,
) -> int:
    """Evaluates each complete checkpoint that is not in `eval/metrics.jsonl` yet, oldest first.

    Ends when training has ended and its last checkpoint is evaluated.

    Args:
      options: of the run in options.train_dir.
      data: the validation files.
      batch_size: examples a batch.
      line: called with each line for people.
      run_once: evaluate the newest checkpoint, if it is not evaluated yet, and end.
      sleep: between two looks.

    Returns:
      How many checkpoints were evaluated.
    """
    train_dir = options.train_dir
    storage.make_dirs(os.path.dirname(checkpoints.metrics_path(train_dir)))
    beat = _Beat(train_dir)
    beat()
    evaluator = Evaluator(options, data, batch_size=batch_size, report=EvaluationReport(line, beat))
    with tf.Graph().as_default():  # a FileWriter refuses to be made in eager mode
        writer = tf.compat.v1.summary.FileWriter(os.path.join(train_dir, "eval"))
    done = 0
    waiting = False
    while True:
        beat()
        # The state first: a checkpoint that comes between the two looks is then seen in the next round.
        record = read_run_state(train_dir)
        pending = _pending(train_dir, newest_only=run_once)
        for checkpoint in pending[:1]:  # one a round: by the next one another evaluator may have done its part
            done += _evaluate_and_publish(train_dir, checkpoint, evaluator, line, writer)
        if run_once or (not pending and record is not None and record.training_ended):
            _say_end(train_dir, record is not None and record.training_ended, done, line)
            return done
        if not pending:
            if not waiting and not done:
                line(f"waiting for a checkpoint in {train_dir}")
            waiting = True
            sleep(_POLL_SECS)


def _pending(train_dir: str, *, newest_only: bool) -> list[Checkpoint]:
    evaluated = checkpoints.evaluated_steps(train_dir)
    complete = checkpoints.list_checkpoints(train_dir)
    candidates = complete[-1:] if newest_only else complete
    # "Newer than the last": after a restore from an older checkpoint the same step is not evaluated twice.
    return [checkpoint for checkpoint in candidates if checkpoint.step not in evaluated]


def _evaluate_and_publish(
    train_dir: str, checkpoint: Checkpoint, evaluator: Evaluator, line: Callable[[str], None], writer: Any
) -> int:
    """1 if the checkpoint was evaluated, 0 if it vanished or another evaluator was faster."""
    try:
        result = evaluator.evaluate(checkpoint)
    except (ValueError, tf.errors.OpError):
        if checkpoint in checkpoints.list_checkpoints(train_dir):
            raise
        line(f"the checkpoint of step {checkpoint.step} was deleted before it could be evaluated")
        return 0
    if checkpoint.step in checkpoints.evaluated_steps(train_dir):
        return 0
    _publish(train_dir, checkpoint, result, line, writer)
    return 1


def _publish(
    train_dir: str, checkpoint: Checkpoint, result: EvaluationResult, line: Callable[[str], None], writer: Any
) -> None:
    line(
        f"epoch/eval number {checkpoint.step} | Avg_Hit@1: {result.hit_at_one:.3f} | Avg_PERR: {result.perr:.3f} | "
        f"MAP: {result.mean_average_precision:.3f} | GAP: {result.global_average_precision:.3f} | "
        f"Avg_Loss: {result.loss:.3f}"
    )
    summary = tf.compat.v1.Summary()
    scalars = {
        "Hit@1": result.hit_at_one,
        "PERR": result.perr,
        "MAP": result.mean_average_precision,
        "GAP": result.global_average_precision,
        "loss": result.loss,
    }
    for name, value in scalars.items():
        summary.value.add(tag=name, simple_value=float(value))
    writer.add_summary(summary, checkpoint.step)
    writer.flush()
    row = {"global_step": checkpoint.step, **result.to_json(), "time": time.time()}
    storage.append_line(checkpoints.metrics_path(train_dir), json.dumps(row))


def _say_end(train_dir: str, training_ended: bool, done: int, line: Callable[[str], None]) -> None:
    why = "training has ended" if training_ended else "one look was asked for"
    newest = checkpoints.latest_checkpoint(train_dir)
    if newest is None:
        line(f"evaluation ends: {why}, and {train_dir} holds no checkpoint")
    else:
        line(f"evaluation ends: {why}; checkpoints evaluated: {done}, the newest is of step {newest.step}")


class _Beat:
    """Tells the chief now and then that an evaluator is there, so that it keeps what is not evaluated yet."""

    def __init__(self, train_dir: str) -> None:
        self._train_dir, self._marked_at = train_dir, float("-inf")

    def __call__(self) -> None:
        if time.monotonic() - self._marked_at >= _MARK_SECS:
            checkpoints.mark_watched(self._train_dir)
            self._marked_at = time.monotonic()
