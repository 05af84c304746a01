"""Keras layers in a model_fn: found by their calls, named alike in each replica, in training mode in training.

In the graph of an Estimator, Keras collects penalties and moving averages on its layers and nowhere else, so that they
would be lost without a word; and it takes a layer to predict unless `training=` is said. This file reaches into
Keras 2.15, which TensorFlow 2.15 comes with.
"""

from __future__ import annotations

import contextlib
import functools
import random
import threading
import warnings
from collections.abc import Iterator
from typing import Any

import tensorflow as tf
from keras.src import backend
from keras.src.engine import base_layer_v1

from estimators.errors import UserError
from estimators.model_graph.graph_search import ancestors

_calls = threading.local()  # replicas of one process build their graphs in threads of their own


@contextlib.contextmanager
def recorded_layers(*, is_training: bool, seed: int | None = None) -> Iterator[list[Any]]:
    """Within it Keras layers are recorded as they are called; each is in the list once.

    Layers of `tf.compat.v1.layers` are Keras layers too, but put their penalties and updates into the graph's
    collections by themselves; they are left out.

    Args:
      is_training: what `training` is to a layer that is called without it.
      seed: of the layers' initial values and dropout, which do not follow the graph's; None for random ones.
    """
    _record_calls()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecated for eager code, where it is no longer needed
        tf.keras.backend.set_learning_phase(int(is_training))
    graph = tf.compat.v1.get_default_graph()
    if not isinstance(backend.PER_GRAPH_OBJECT_NAME_UIDS.get(graph), _NamesOfReplica):
        backend.PER_GRAPH_OBJECT_NAME_UIDS[graph] = _NamesOfReplica()
    _calls.layers, _calls.graph = {}, graph
    layers: list[Any] = []
    seeds, backend._SEED_GENERATOR.generator = (
        getattr(backend._SEED_GENERATOR, "generator", None),
        None if seed is None else random.Random(seed),
    )
    try:
        yield layers
    finally:
        backend._SEED_GENERATOR.generator = seeds
        layers += _outermost(list(_calls.layers.values()))
        _calls.layers = _calls.graph = None


def penalties_of(layers: list[Any]) -> list[Any]:
    """What the layers' regularizers ask for: scalars, made for the replica that calls this."""
    return [loss for layer in layers for loss in layer.losses if not _needs_placeholder(loss)]


def updates_of(layers: list[Any]) -> list[Any]:
    """The operations that move the layers' moving averages."""
    updates = [update for layer in layers for update in layer.updates]
    # Building a functional model calls its layers once on placeholders, which nobody feeds.
    return [update for update in updates if not _needs_placeholder(update)]


class _NamesOfReplica(dict[Any, int]):
    """Counts layer names a replica. Counted together, a layer would be `dense` in one and `dense_1` in the next, and
    its variable would have another name in the checkpoint than in evaluation."""

    def __getitem__(self, key: Any) -> int:
        return super().__getitem__(self._own(key))

    def __setitem__(self, key: Any, value: int) -> None:
        super().__setitem__(self._own(key), value)

    def __contains__(self, key: Any) -> bool:
        return super().__contains__(self._own(key))

    def __missing__(self, key: Any) -> int:
        return 0

    @staticmethod
    def _own(key: Any) -> Any:
        return threading.get_ident(), key  # of the replica; its number is a tensor, which says nothing yet


def _record_calls() -> None:
    call = base_layer_v1.Layer.__call__
    if hasattr(call, "records"):
        return

    @functools.wraps(call)
    def recording(self: Any, *args: Any, **kwargs: Any) -> Any:
        if _is_recorded() and not isinstance(self, tf.compat.v1.layers.Layer):
            _calls.layers[id(self)] = self
        return call(self, *args, **kwargs)

    recording.records = True  # type: ignore[attr-defined]
    base_layer_v1.Layer.__call__ = recording
    set_values, load_weights = backend.batch_set_value, tf.keras.Model.load_weights

    # `weights=` of a layer, `set_weights` and `tf.keras.applications` come here.
    @functools.wraps(set_values)
    def setting(pairs: Any) -> None:
        pairs = list(pairs)
        if pairs:
            _refuse_values(f"values for {', '.join(str(variable.name) for variable, _ in pairs[:3])}")
        set_values(pairs)

    # Of its formats only the oldest goes through the above.
    @functools.wraps(load_weights)
    def loading(self: Any, filepath: Any, *args: Any, **kwargs: Any) -> Any:
        _refuse_values(f"load_weights({str(filepath)!r})")
        return load_weights(self, filepath, *args, **kwargs)

    backend.batch_set_value, tf.keras.Model.load_weights = setting, loading


def _is_recorded() -> bool:
    """Whether what is built now belongs to the model, and not to a graph of its author's own, for values to begin with.

    Branches and loops are graphs inside of the model's.
    """
    wanted = getattr(_calls, "graph", None)
    graph = tf.compat.v1.get_default_graph() if wanted is not None else None
    while graph is not None and graph is not wanted:
        graph = getattr(graph, "outer_graph", None)
    return graph is not None


def _refuse_values(asked: str) -> None:
    if _is_recorded():
        raise UserError(
            "Values that create_model puts into a Keras layer would be lost: Keras sets them in a session of its own, "
            "and training begins with those of the initializers",
            asked=asked,
            change="a layer's kernel_initializer=tf.keras.initializers.Constant(values), or --warm_start_from with a "
            "checkpoint that holds them",
        )


def _outermost(layers: list[Any]) -> list[Any]:
    """Without those that another one holds, which answers for them."""
    held = {id(inner) for layer in layers for inner in layer.submodules}
    return [layer for layer in layers if id(layer) not in held]


def _needs_placeholder(tensor_or_op: Any) -> bool:
    op = tensor_or_op.op if tf.is_tensor(tensor_or_op) else tensor_or_op
    return any(before.type == "Placeholder" for before in ancestors(op))
