"""From counts to the ordered tasks of a run. Pure: no Ray, no TensorFlow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from cvd_cluster.cluster_options import ClusterOptions
from estimators.training_plan import Role


@dataclass(frozen=True)
class Task:
    """One process of a run.

    Attributes:
      role: "chief", "worker", "ps" or "evaluator".
      index: its number within its role; the chief is chief 0.
      cpus: CPUs that Ray sets aside for it.
      gpus: GPUs that Ray sets aside for it; with 0 it sees none.
    """

    role: Role
    index: int
    cpus: float
    gpus: int

    @property
    def name(self) -> str:
        """`worker-0`."""
        return f"{self.role}-{self.index}"

    @property
    def trains(self) -> bool:
        """True for the training replicas: the chief and the workers."""
        return self.role in ("chief", "worker")

    @property
    def worker_index(self) -> int:
        """Its number among the training replicas: 0 is the chief, 1 is worker 0. -1 for a task that does not train."""
        return {"chief": 0, "worker": self.index + 1}.get(self.role, -1)


class Demand(Protocol):
    """What a process asks of a cluster: a Task does."""

    @property
    def name(self) -> str:
        """For messages."""

    @property
    def cpus(self) -> float:
        """CPUs that Ray sets aside for it."""

    @property
    def gpus(self) -> float:
        """The same for GPUs."""


def bundles_for(demands: Sequence[Demand]) -> list[dict[str, float]]:
    """What Ray sets aside for each process."""
    return [{"CPU": one.cpus, **({"GPU": one.gpus} if one.gpus else {})} for one in demands]


def make_topology(options: ClusterOptions, *, with_evaluator: bool) -> tuple[Task, ...]:
    """The tasks of a run: chief, workers, parameter servers, evaluator.

    Args:
      options: `num_workers` counts the chief.
      with_evaluator: whether an evaluator runs alongside.
    """
    cpus, gpus = options.cpus_per_worker, options.gpus_per_worker
    tasks = [Task("chief", 0, cpus, gpus)]
    tasks += [Task("worker", index, cpus, gpus) for index in range(options.num_workers - 1)]
    tasks += [Task("ps", index, cpus, 0) for index in range(options.num_parameter_servers)]
    if with_evaluator:
        tasks.append(Task("evaluator", 0, cpus, 0))
    return tuple(tasks)
