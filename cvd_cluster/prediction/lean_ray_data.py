"""Ray Data without two helper actors that this project does not need, and with a short sleep in its busy loop.

Ray Data starts an actor that keeps statistics for the dashboard, and one that divides a cluster's nodes among several
data sets; each takes two seconds of a processor just when the predictors load TensorFlow, and reading waits for the
second one. Ray has settings for neither.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

import ray
from ray.data._internal.execution.execution_callback import ExecutionCallback

from cvd_cluster.replaced_attributes import replaced_attributes

_REST_SECONDS, _LONG_REST_SECONDS = 0.02, 0.05


class RestAfterEachStep(ExecutionCallback):  # type: ignore[misc]
    """Lets Ray Data's loop rest after each step: for a moment, or until what was read is taken.

    Something that was read waits to be taken nearly always where pictures are decoded. Then the loop has nothing to do,
    and took half a processor of the driver's machine. A step hands on one block: a rest that lasts beyond the next wish
    for one would be the measure of all that is predicted.
    """

    wished = threading.Event()
    """To be set when a block is wished for."""

    def on_execution_step(self, executor: Any) -> None:
        """Called by Ray Data."""
        is_ahead = not executor._consumer_idling()
        self.wished.wait(_LONG_REST_SECONDS if is_ahead else _REST_SECONDS)
        self.wished.clear()


class _WholeMachine:
    """In the place of Ray Data's DefaultAutoscalingCoordinator: all nodes are ours, and none can be added."""

    def __init__(self, *args: Any, **options: Any) -> None:
        self._resources = {node["NodeID"]: node["Resources"] for node in ray.nodes() if node["Alive"]}

    def request_resources(self, *args: Any, **options: Any) -> None:
        """Asks nobody for nodes."""

    def cancel_request(self) -> None:
        """There is none."""

    def get_reserved_resources(self) -> dict[str, dict[str, float]]:
        """Node id -> what it has."""
        return self._resources


@contextlib.contextmanager
def without_helper_actors() -> Iterator[None]:
    """Lets Ray Data run without these two actors. Only for a Ray on this machine that is ours alone."""
    from ray.data._internal import stats
    from ray.data._internal.cluster_autoscaler import rate_based_cluster_autoscaler

    def say_nothing(*args: Any, **options: Any) -> None:
        pass

    statistics = ("register_dataset_to_stats_actor", "update_execution_metrics", "update_iteration_metrics")
    with replaced_attributes(
        [
            *((stats._StatsManager, name, staticmethod(say_nothing)) for name in statistics),
            (rate_based_cluster_autoscaler, "DefaultAutoscalingCoordinator", _WholeMachine),
        ]
    ):
        yield
