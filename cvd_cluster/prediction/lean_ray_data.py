"""Ray Data without the helper processes that one run on one machine never asks anything.

Ray Data starts an actor that keeps statistics for the dashboard, and one that divides a cluster's nodes among several
data sets; each takes two seconds of a processor just when the predictors load TensorFlow, and reading waits for the
second one. Ray has settings for neither.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import ray

from cvd_cluster.replaced_attributes import replaced_attributes


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
