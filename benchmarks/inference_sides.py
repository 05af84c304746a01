"""The sides that inference is measured beside, each in a process of its own:

    python -m benchmarks.inference_sides SIDE PATTERN MODEL_DIR OUTPUT

SIDE is `plain`, the loop of TFRecordDataset and a SavedModel that TensorFlow's guides show; `session`, the same with
what makes it quickest, prefetching and a session; `decode`, reading, decoding and resizing alone; `ray_data`,
ray.data.read_tfrecords, a SavedModel in actors and write_csv. Each prints the line of
launch.inference twice a second, but the last, which does at its end.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from typing import IO, Any

from estimators.storage import glob

_BATCH, _SIDE = 128, 32
_NAMES = ("image_id", "class_indexes", "predictions")


class _Progress:
    def __init__(self) -> None:
        self._began = self._told = time.perf_counter()
        self._done = 0

    def advance(self, count: int, *, last: bool = False) -> None:
        self._done += count
        if last or time.perf_counter() - self._told >= 0.5:
            self._told = time.perf_counter()
            print(f"num examples processed: {self._done} elapsed seconds: {self._told - self._began:.2f}", flush=True)


class _Model:
    """A SavedModel in a session, the quickest way there is to run one in Python."""

    def __init__(self, model_dir: str) -> None:
        import tensorflow as tf

        session = tf.compat.v1.Session(graph=tf.Graph())
        with session.graph.as_default():
            loaded = tf.compat.v1.saved_model.loader.load(session, [tf.saved_model.SERVING], model_dir)
        signature = loaded.signature_def["serving_default"]
        outputs = [signature.outputs[name].name for name in _NAMES]
        self._run = session.make_callable(outputs, [signature.inputs["example_bytes"].name])

    def __call__(self, batch: Any) -> Any:
        return self._run(batch)


def plain(pattern: str, model_dir: str, output: str) -> None:
    """Reads, predicts and writes in one loop."""
    import tensorflow as tf

    progress = _Progress()
    predict = tf.saved_model.load(model_dir).signatures["serving_default"]
    with open(output, "w") as file:
        file.write("Id,Category\n")
        for batch in tf.data.TFRecordDataset(glob(pattern)).batch(_BATCH):
            answers = predict(example_bytes=batch)
            _write(file, answers["image_id"].numpy(), answers["class_indexes"].numpy(), progress)
    progress.advance(0, last=True)


def session(pattern: str, model_dir: str, output: str) -> None:
    """The same, the quickest way known."""
    import tensorflow as tf

    progress, model = _Progress(), _Model(model_dir)
    with open(output, "w") as file:
        file.write("Id,Category\n")
        for batch in tf.data.TFRecordDataset(glob(pattern)).batch(_BATCH).prefetch(2).as_numpy_iterator():
            ids, classes, _ = model(batch)
            _write(file, ids, classes, progress)
    progress.advance(0, last=True)


def _write(file: IO[str], ids: Any, classes: Any, progress: _Progress) -> None:
    file.writelines(f"{one.decode()},{row[0]}\n" for one, row in zip(ids, classes, strict=True))
    progress.advance(len(ids))


def decode(pattern: str, model_dir: str, output: str) -> None:
    """Reads, decodes and resizes on all cores, and does nothing else."""
    import tensorflow as tf

    from estimators.inputs.image_decoding import decode_image
    from estimators.readers import parse_fields
    from estimators.records.record_schema import IMAGE_ENCODED

    def pixels(serialized: Any) -> Any:
        return decode_image(parse_fields(serialized, with_label=False)[IMAGE_ENCODED], _SIDE)

    progress = _Progress()
    records = tf.data.TFRecordDataset(glob(pattern))
    for batch in records.map(pixels, num_parallel_calls=tf.data.AUTOTUNE).batch(_BATCH).prefetch(2):
        progress.advance(len(batch))
    progress.advance(0, last=True)


class _RayDataModel:
    """What `map_batches` keeps in an actor; it notes what it did, since Ray Data tells nobody."""

    def __init__(self, model_dir: str, notes: str) -> None:
        from estimators.records.record_schema import serialize_example

        self._model, self._serialize, self._notes = _Model(model_dir), serialize_example, notes

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        examples = [
            self._serialize(one, name.decode())
            for one, name in zip(batch["image/encoded"], batch["image/filename"], strict=True)
        ]
        import numpy as np

        ids, classes, _ = self._model(np.array(examples, dtype=object))
        with open(self._notes, "a") as file:
            file.write(json.dumps([time.time(), len(ids)]) + "\n")
        return {"Id": np.array([one.decode() for one in ids]), "Category": classes[:, 0]}


def ray_data(pattern: str, model_dir: str, output: str) -> None:
    """The way that Ray Data's own documentation shows."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    import ray

    began, notes = time.time(), output + ".notes"
    ray.init(address="local", include_dashboard=False, log_to_driver=False, _node_ip_address="127.0.0.2")
    dataset = ray.data.read_tfrecords(glob(pattern)).map_batches(
        _RayDataModel,
        fn_constructor_args=(model_dir, notes),
        batch_size=_BATCH,
        compute=ray.data.ActorPoolStrategy(size=1),
    )
    dataset.write_csv(output)
    done = 0
    for moment, count in _noted(notes):
        done += count
        print(f"num examples processed: {done} elapsed seconds: {moment - began:.2f}")
    ray.shutdown()


def _noted(path: str) -> Iterator[tuple[float, int]]:
    with open(path) as file:
        for line in file:
            moment, count = json.loads(line)
            yield moment, count


if __name__ == "__main__":
    {"plain": plain, "session": session, "decode": decode, "ray_data": ray_data}[sys.argv[1]](*sys.argv[2:])
