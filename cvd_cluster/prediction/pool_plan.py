"""How many predictors there are, and what each may use. Pure: no Ray, no TensorFlow."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class PoolPlan:
    """The predictors of one run.

    Attributes:
      predictors: how many; each holds one of Ray's CPUs.
      threads: TensorFlow's threads in each.
      reader_cpus: how many of Ray's CPUs one reading task holds.
    """

    predictors: int
    threads: int
    reader_cpus: float


def cpus_wanted(max_worker_count: int, cores: int) -> int:
    """Ray's CPUs for the predictors that are asked for (0: as many as `cores` hold), and one for reading."""
    return (max_worker_count or max(1, cores - 1)) + 1


def plan_pool(*, max_worker_count: int, cpus: float, cores: int | None, blocks: int) -> PoolPlan:
    """Plans the predictors so that one CPU is left for reading: predictors that hold all of them would wait for ever.

    Args:
      max_worker_count: how many predictors are asked for at the most; 0 for as many as there are CPUs for.
      cpus: CPUs that Ray has.
      cores: the cores of this machine, if Ray runs here for this run alone: they are divided among the predictors.
        None in a cluster, where others count on theirs: a predictor takes one core more than it holds, at the most.
      blocks: how many blocks of records there are; a predictor that would get none is not started.
    """
    room = max(1, math.floor(cpus) - 1)
    predictors = max(1, min(max_worker_count or room, room, blocks))
    return PoolPlan(
        predictors=predictors,
        threads=max(1, min(2, math.floor(cpus) // predictors) if cores is None else cores // predictors),
        reader_cpus=1.0 if cpus - predictors >= 1 else 0.0,
    )
