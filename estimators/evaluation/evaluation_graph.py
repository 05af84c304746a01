"""The TensorFlow of an evaluation: a graph and a session that give the predictions of one checkpoint after another."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from estimators.checkpoints.checkpoint_files import Checkpoint
from estimators.class_lookup import load_class
from estimators.errors import UserError
from estimators.evaluation.checkpoint_evaluator import UnreadableCheckpointError
from estimators.experiment_options import ExperimentOptions
from estimators.inputs.data_check import DataFiles, find_bad_record
from estimators.inputs.input_fns import eval_input_fn
from estimators.inputs.skipped_records import SkippedRecords
from estimators.inputs.worker_shards import WorkerShard
from estimators.model_graph.model_fn import make_model_fn
from estimators.tensorflow_compat import reason_of

_ROUNDING = 1e-3  # a mixture of experts that are sure sums up to a little more than 1


class EvaluatedBatch(NamedTuple):
    """What a model says of a batch.

    Attributes:
      predictions: float32 [B, 1] or [B, K].
      labels: float32 of the same shape, 0 or 1.
      loss: the mean over the batch.
    """

    predictions: npt.NDArray[np.float32]
    labels: npt.NDArray[np.float32]
    loss: float


class EvaluationGraph:
    """The graph is built once: `Estimator.evaluate` would build it anew for each checkpoint.

    Args:
      options: of the training run.
      data: the validation files.
      batch_size: records a batch.
      skipped: told of each bad record, if those are to be skipped.
      part: the batches to evaluate; None for all.

    Raises:
      UserError: the model or the loss does not fit.
    """

    def __init__(
        self,
        options: ExperimentOptions,
        data: DataFiles,
        *,
        batch_size: int,
        skipped: SkippedRecords,
        part: WorkerShard | None = None,
    ) -> None:
        self._options, self._data = options, data
        self._predicts_probabilities = load_class("model", options.model)().predicts_probabilities
        self._graph = tf.Graph()
        with self._graph.as_default():
            dataset = eval_input_fn(options, data, batch_size=batch_size, skipped=skipped, part=part)()
            iterator = tf.compat.v1.data.make_initializable_iterator(dataset)
            tf.compat.v1.train.get_or_create_global_step()
            features, labels = iterator.get_next()
            model_fn = make_model_fn(options, examples_per_step=1)
            spec = model_fn(features, labels, tf.estimator.ModeKeys.EVAL)
            self._fetches = (spec.predictions["predictions"], spec.predictions["labels"], spec.loss)
            self._start = iterator.initializer
            local_init = (tf.compat.v1.local_variables_initializer(), tf.compat.v1.tables_initializer())
            self._saver = tf.compat.v1.train.Saver(sharded=True)
        self._session = tf.compat.v1.Session(graph=self._graph)
        self._session.run(local_init)

    def batches(self, checkpoint: Checkpoint) -> Iterator[EvaluatedBatch]:
        """Restores the checkpoint and yields all batches of the part, in their order.

        Raises:
          UnreadableCheckpointError: it cannot be restored.
          DataError: a record is damaged; the message names it.
          UserError: the model predicts NaN, or values outside [0, 1] though they are to be probabilities.
        """
        self._restore(checkpoint)
        self._session.run(self._start)
        while True:
            try:
                batch = EvaluatedBatch(*self._session.run(self._fetches))
            except tf.errors.OutOfRangeError:
                return
            except (tf.errors.InvalidArgumentError, tf.errors.DataLossError) as error:
                found = find_bad_record(self._data, flag="eval_data_pattern", num_classes=self._options.num_classes)
                raise (found or error) from error
            if np.isnan(batch.predictions).any():
                raise UserError(
                    f"The predictions of the checkpoint of step {checkpoint.step} are NaN, so they cannot be ranked",
                    asked=f"--model={self._options.model}",
                    found=f"{int(np.isnan(batch.predictions).sum())} of {batch.predictions.size} in one batch; what "
                    "a checkpoint holds was finite when it was saved",
                    change="in the model, a logarithm of 0 or a division by 0",
                )
            outside = (batch.predictions < -_ROUNDING) | (batch.predictions > 1 + _ROUNDING)
            if self._predicts_probabilities and outside.any():
                raise UserError(
                    f"{self._options.model} predicts values that are not probabilities",
                    asked=f"--model={self._options.model}, which by its class predicts probabilities",
                    found=f"predictions from {batch.predictions.min():.3g} to {batch.predictions.max():.3g} for the "
                    f"checkpoint of step {checkpoint.step}",
                    change="in the model, a sigmoid or softmax on the last layer; or, with one column per class, "
                    "predicts_probabilities = False in its class",
                )
            yield batch

    def _restore(self, checkpoint: Checkpoint) -> None:
        try:
            with self._graph.as_default():  # outside a graph a Saver takes eager variables
                self._saver.restore(self._session, checkpoint.prefix)
        except (ValueError, tf.errors.OpError) as error:
            raise UnreadableCheckpointError(
                f"The checkpoint of step {checkpoint.step} cannot be restored",
                asked=checkpoint.prefix,
                found=_reason(error),
                change="if the model's code has changed since it was trained, change it back; if the file is damaged, "
                "delete this checkpoint; on a cluster, --train_dir must be the same folder on every node",
            ) from error


def _reason(error: Any) -> str:
    text = error.message if isinstance(error, tf.errors.OpError) else str(error)
    return reason_of(text) or type(error).__name__
