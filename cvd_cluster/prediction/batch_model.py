"""A SavedModel that always gets batches of one size.

What TensorFlow computes for a picture depends, in the last bits, on how many are in its batch and where it stands among
them. So a batch that is short, or of which some pictures cannot be used, is filled up, and all others keep their place.
"""

from __future__ import annotations

import base64
import os
import re
import sys
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from estimators.errors import InfrastructureError, UserError
from estimators.promised_gpus import check_gpus
from estimators.records.record_schema import serialize_example
from estimators.train_dir.exports import INPUT, OUTPUTS, SIGNATURE

_MOST_SHOWN = 300
# TensorFlow's notes on where in the graph an error arose: {{node map/while/DecodeJpeg}}, [[ … ]].
_GRAPH_NOTES = re.compile(r"\{\{.*?\}\}|\[\[.*?\]\]")
# A grey PNG of 1 x 1, which TensorFlow decodes in microseconds.
_FILLING = serialize_example(
    base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNoAAAAggCBd81ytgAAAABJRU5ErkJggg=="),
    "filling",
)


class Answers(NamedTuple):
    """What the model says of a batch of N.

    Attributes:
      ids: N of them; b"" where the record has none, or has an error.
      classes: int32 [N, k], the likeliest first.
      probabilities: float32 [N, k], of these classes.
      errors: N of them; None where there is a prediction.
    """

    ids: list[bytes]
    classes: npt.NDArray[np.int32]
    probabilities: npt.NDArray[np.float32]
    errors: list[str | None]


class BatchModel:
    """The model, loaded.

    Args:
      model_dir: the SavedModel.
      batch_size: records of a batch.
      threads: how many of them TensorFlow may decode and compute at the same time.
      on_gpu: False hides all GPUs from this process.

    Raises:
      UserError: it is no SavedModel, has not the signature of an export, or does not predict; or TensorFlow finds no
        GPU.
    """

    def __init__(self, model_dir: str, batch_size: int, threads: int, *, on_gpu: bool = False) -> None:
        self.batch_size = batch_size
        self._tf = _tensorflow(on_gpu)
        check_gpus(float(on_gpu))
        self._run = self._load(model_dir, threads)
        try:
            self._run(self._batch([]))  # the first run takes longer than the others
        except self._tf.errors.OpError as error:
            raise _unusable(model_dir, f"it does not predict: {_reason(error)}") from None

    def answer(self, records: Sequence[bytes | None]) -> Answers:
        """Predicts a batch.

        Args:
          records: serialized examples, batch_size at the most; None for one that is to be left out.

        Raises:
          InfrastructureError: TensorFlow failed, and no record is to blame.
        """
        known: dict[int, str] = {}
        try:
            ids, classes, probabilities = self._run(self._batch(records))
        except self._tf.errors.OpError as error:
            self._check_is_of_a_record(error)
            self._run_without_fault([])  # where it fails on no record either, it is the machine
            # TensorFlow does not say which record it stumbled over.
            known = self._failing(records, [index for index, one in enumerate(records) if one is not None])
            ids, classes, probabilities = self._run_without_fault(
                [None if index in known else one for index, one in enumerate(records)]
            )
        count = len(records)
        errors = [known.get(index) for index in range(count)]
        for index in np.flatnonzero(~np.isfinite(probabilities[:count]).all(axis=1)):
            errors[index] = errors[index] or "the model's answer is not a finite number"
        names = [b"" if one is None or errors[index] else ids[index] for index, one in enumerate(records)]
        return Answers(names, classes[:count], probabilities[:count], errors)

    def _run_without_fault(self, records: Sequence[bytes | None]) -> Any:
        try:
            return self._run(self._batch(records))
        except self._tf.errors.OpError as error:
            raise _not_computed(error) from None

    def _failing(self, records: Sequence[bytes | None], suspects: list[int]) -> dict[int, str]:
        """The records that the model fails on, and why, by halving."""
        batch = [one if index in set(suspects) else None for index, one in enumerate(records)]
        try:
            self._run(self._batch(batch))
        except self._tf.errors.OpError as error:
            self._check_is_of_a_record(error)
            if len(suspects) == 1:
                return {suspects[0]: _reason(error)}
            middle = len(suspects) // 2
            return self._failing(records, suspects[:middle]) | self._failing(records, suspects[middle:])
        return {}

    def _check_is_of_a_record(self, error: Any) -> None:
        """Raises InfrastructureError if it is no record that is wrong, but memory that ran out, or the machine."""
        errors = self._tf.errors
        others = (errors.ResourceExhaustedError, errors.InternalError, errors.UnavailableError, errors.AbortedError)
        if isinstance(error, others):
            raise _not_computed(error) from None

    def _batch(self, records: Sequence[bytes | None]) -> Any:
        filled = [_FILLING if one is None else one for one in records]
        filled += [_FILLING] * (self.batch_size - len(filled))
        return np.array(filled, dtype=object)

    def _load(self, model_dir: str, threads: int) -> Callable[[Any], Any]:
        tf = self._tf
        # One operation is never divided: a sum over several threads has other last bits for another number of them.
        config = tf.compat.v1.ConfigProto(intra_op_parallelism_threads=1, inter_op_parallelism_threads=threads)
        config.gpu_options.allow_growth = True  # else one predictor takes the whole GPU that several may share
        session = tf.compat.v1.Session(graph=tf.Graph(), config=config)
        try:
            with session.graph.as_default():
                loaded = tf.compat.v1.saved_model.loader.load(session, [tf.saved_model.SERVING], model_dir)
            inputs, outputs = _tensor_names(loaded)
        except (KeyError, ValueError, RuntimeError, OSError, tf.errors.OpError) as error:
            raise _unusable(model_dir, str(error).strip().partition("\n")[0]) from None
        run: Callable[[Any], Any] = session.make_callable(outputs, [inputs])
        return run


def _not_computed(error: Any) -> InfrastructureError:
    return InfrastructureError(
        "TensorFlow could not compute a batch",
        found=f"{type(error).__name__}: {_reason(error)}",
        change="if memory ran out, a smaller --batch_size, or fewer predictors on a GPU (--gpus_per_worker). "
        "What is predicted already is kept, and the same command goes on",
    )


def _unusable(model_dir: str, found: str) -> UserError:
    return UserError(
        "The exported model cannot be loaded",
        asked=model_dir,
        found=found,
        change="train on, which exports anew, or choose another export with --model_dir",
    )


def _reason(error: Any) -> str:
    # The cause is the last line that is more than a note on a place in the graph.
    lines = [" ".join(_GRAPH_NOTES.sub("", line).split()) for line in str(error.message).splitlines()]
    return next(filter(None, reversed(lines)), type(error).__name__)[:_MOST_SHOWN]


def _tensorflow(on_gpu: bool) -> Any:
    """TensorFlow without what a SavedModel does not need."""
    if not on_gpu:
        # An actor without a GPU of its own would still see, and fill, every GPU of its machine.
        os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
    else:
        # The quickest algorithm of the moment would be taken, and sums come in any order.
        os.environ.setdefault("TF_DETERMINISTIC_OPS", "1")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    # `import tensorflow` imports all of Keras, a third of its time, and goes on without it.
    sys.modules.setdefault("keras", None)  # type: ignore[arg-type]
    import tensorflow as tf

    return tf


def _tensor_names(meta_graph: Any) -> tuple[str, list[str]]:
    signature = meta_graph.signature_def.get(SIGNATURE)
    # These are protobuf maps: reading a key that is not there would add it.
    if signature is None or INPUT not in signature.inputs or not all(name in signature.outputs for name in OUTPUTS):
        raise ValueError(f"no signature {SIGNATURE!r} from {INPUT!r} to {', '.join(OUTPUTS)}")
    return signature.inputs[INPUT].name, [signature.outputs[name].name for name in OUTPUTS]
