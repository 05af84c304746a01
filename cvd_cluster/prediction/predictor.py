"""One predictor: the class of a Ray actor that holds a SavedModel and turns blocks of records into predictions.

Its process is ready soon because it imports neither Ray Data nor all of TensorFlow.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from cvd_cluster.prediction.record_columns import RECORD, ROW, SHARD
from cvd_cluster.prediction.submission_merge import Prediction
from estimators.errors import UserError
from estimators.record_schema import IMAGE_ENCODED, IMAGE_ID, parse_example

_MOST_SHOWN = 300
# A function: serialized examples [N] -> image ids [N], classes [N, k], the likeliest first, their probabilities [N, k].
_Model = Callable[[Any], Any]
# image id, "" if it is not known; classes; their probabilities; error
_Outcome = tuple[str, list[int], list[float], str | None]
_SIGNATURE, _INPUT, _OUTPUTS = "serving_default", "example_bytes", ("image_id", "class_indexes", "predictions")
# TensorFlow's notes on where in the graph an error arose: {{node map/while/DecodeJpeg}}, [[ … ]].
_GRAPH_NOTES = re.compile(r"\{\{.*?\}\}|\[\[.*?\]\]")


class Predictor:
    """Holds the SavedModel, which is loaded once, when it is first needed.

    Args:
      model_dir: the SavedModel.
      batch_size: records that go through the model at a time.
      threads: how many of them TensorFlow may decode and compute at the same time.
    """

    def __init__(self, model_dir: str, batch_size: int, threads: int) -> None:
        self._model_dir, self._batch_size, self._threads = model_dir, batch_size, threads
        self._model: _Model | None = None

    def load(self) -> None:
        """Loads TensorFlow and the model.

        Raises:
          UserError: it is no SavedModel, or has not the signature of an export.
        """
        self._model = _load_model(self._model_dir, self._threads)

    def predict(self, block: pa.Table) -> list[Prediction]:
        """Predicts one block.

        Args:
          block: columns shard, row, record.

        Returns:
          A prediction for each row; one that fails has its error, and does not harm the others.

        Raises:
          UserError: see `load`.
        """
        if self._model is None:
            self.load()
        records = block[RECORD].to_pylist()
        outcomes: list[_Outcome] = []
        for start in range(0, len(records), self._batch_size):
            outcomes += self._predict(records[start : start + self._batch_size])
        rows = zip(block[SHARD].to_pylist(), block[ROW].to_pylist(), outcomes, strict=True)
        return [Prediction(shard, row, *outcome) for shard, row, outcome in rows]

    def _predict(self, records: Sequence[bytes]) -> list[_Outcome]:
        assert self._model is not None
        import tensorflow as tf

        try:
            image_ids, class_indexes, probabilities = self._model(np.array(records, dtype=object))
        except tf.errors.OpError as error:
            if len(records) > 1:
                # TensorFlow does not say which record it stumbled over, so each gets its own try.
                return [outcome for record in records for outcome in self._predict([record])]
            return [_failure(records[0], error)]
        rows = zip(image_ids, class_indexes.tolist(), probabilities.tolist(), strict=True)
        return [_outcome(*row) for row in rows]


def _outcome(image_id: bytes, classes: list[int], probabilities: list[float]) -> _Outcome:
    try:
        return image_id.decode("utf-8"), classes, probabilities, None
    except UnicodeDecodeError:
        return repr(image_id), [], [], "its id is not UTF-8"


def _failure(record: bytes, error: Any) -> _Outcome:
    try:
        example = parse_example(record)
    except ValueError as reason:
        return "", [], [], str(reason)
    image_id = (example.image_id or b"").decode("utf-8", "replace")
    if example.encoded is None or example.image_id is None:
        return image_id, [], [], f"it has no {IMAGE_ENCODED if example.encoded is None else IMAGE_ID}"
    # The cause is the last line that is more than a note on a place in the graph.
    lines = [" ".join(_GRAPH_NOTES.sub("", line).split()) for line in str(error.message).splitlines()]
    return image_id, [], [], next(filter(None, reversed(lines)), type(error).__name__)[:_MOST_SHOWN]


def _tensorflow() -> Any:
    """TensorFlow without what a SavedModel does not need."""
    # An actor without a GPU of its own would still see, and fill, every GPU of its machine.
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    # `import tensorflow` imports all of Keras, a third of its time, and goes on without it.
    sys.modules.setdefault("keras", None)  # type: ignore[arg-type]
    import tensorflow as tf

    return tf


def _load_model(model_dir: str, threads: int) -> _Model:
    tf = _tensorflow()
    config = tf.compat.v1.ConfigProto(intra_op_parallelism_threads=threads, inter_op_parallelism_threads=threads)
    session = tf.compat.v1.Session(graph=tf.Graph(), config=config)
    try:
        with session.graph.as_default():
            loaded = tf.compat.v1.saved_model.loader.load(session, [tf.saved_model.SERVING], model_dir)
        inputs, outputs = _tensor_names(loaded)
    except (KeyError, ValueError, RuntimeError, OSError, tf.errors.OpError) as error:
        raise UserError(
            "The exported model cannot be loaded",
            asked=model_dir,
            found=str(error).strip().partition("\n")[0],
            change="train on, which exports anew, or choose another export with --model_dir",
        ) from None
    run: _Model = session.make_callable(outputs, [inputs])
    return run


def _tensor_names(meta_graph: Any) -> tuple[str, list[str]]:
    signature = meta_graph.signature_def.get(_SIGNATURE)
    # These are protobuf maps: reading a key that is not there would add it.
    if signature is None or _INPUT not in signature.inputs or not all(name in signature.outputs for name in _OUTPUTS):
        raise ValueError(f"no signature {_SIGNATURE!r} from {_INPUT!r} to {', '.join(_OUTPUTS)}")
    return signature.inputs[_INPUT].name, [signature.outputs[name].name for name in _OUTPUTS]
