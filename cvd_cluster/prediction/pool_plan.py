"""How many predictors there are, and what each may use. Pure: no Ray, no TensorFlow."""

from __future__ import annotations

import math
from dataclasses import dataclass

from estimators.errors import InfeasibleError

# What one reader can feed, with a margin, where reading is a disk's.
_PREDICTORS_OF_A_READER = 4


@dataclass(frozen=True)
class PoolPlan:
    """The predictors of one run.

    Attributes:
      predictors: how many; each holds one of Ray's CPUs.
      threads: TensorFlow's threads in each.
      reader_cpus: how many of Ray's CPUs one reading task holds.
      readers: reading tasks at the same time, at the most; None for any number, where they hold no CPU.
      gpus: of each predictor.
    """

    predictors: int
    threads: int
    reader_cpus: float
    readers: int | None = None
    gpus: float = 0.0


def cpus_wanted(max_worker_count: int, cores: int) -> int:
    """Ray's CPUs for the predictors that are asked for (0: as many as `cores` hold), and one for reading."""
    return (max_worker_count or max(1, cores - 1)) + 1


def plan_pool(
    *,
    max_worker_count: int,
    cpus: float,
    cores: int | None,
    pieces: int,
    gpus_per_worker: float = 0.0,
    gpus: float = 0.0,
) -> PoolPlan:
    """Plans the predictors so that one CPU is left for reading: predictors that hold all of them would wait for ever.

    Args:
      max_worker_count: how many predictors are asked for at the most; 0 for as many as there are CPUs for.
      cpus: CPUs that Ray has.
      cores: the cores of this machine, if Ray runs here for this run alone: they are divided among the predictors.
        None in a cluster, where others count on theirs: a predictor takes one core more than it holds, at the most.
      pieces: how many pieces there are to predict; a predictor that would get none is not started.
      gpus_per_worker: GPUs that each predictor is to have; there are no more predictors than that leaves room for.
      gpus: GPUs that Ray has.

    Raises:
      InfeasibleError: not even one predictor has the GPUs that are asked for.
    """
    room = max(1, math.floor(cpus) - 1)
    if gpus_per_worker:
        if gpus < gpus_per_worker:
            raise InfeasibleError(
                "No predictor can get that many GPUs",
                asked=f"--gpus_per_worker={gpus_per_worker:g}",
                found=f"Ray has {gpus:g} GPUs",
                change="--gpus_per_worker, or a machine or cluster with GPUs",
            )
        room = min(room, math.floor(gpus / gpus_per_worker + 1e-9))
    predictors = max(1, min(max_worker_count or room, room, pieces))
    others = math.floor(cpus - predictors)
    # Many predictors would wait for a single reader, above all for one that waits for a bucket.
    readers = max(others, math.ceil(predictors / _PREDICTORS_OF_A_READER))
    return PoolPlan(
        predictors=predictors,
        threads=max(1, min(2, math.floor(cpus) // predictors) if cores is None else cores // predictors),
        # Rounded down to what Ray counts in.
        reader_cpus=math.floor(min(1.0, others / readers) * 10_000) / 10_000 if others >= 1 else 0.0,
        # Not more than there are CPUs for: one that took a dead predictor's CPU would keep its successor from coming.
        readers=readers if others >= 1 else None,
        gpus=gpus_per_worker,
    )
