"""Reading is never starved, and no predictor is started for nothing."""

from __future__ import annotations

import pytest

from cvd_cluster.prediction.pool_plan import PoolPlan, cpus_wanted, plan_pool
from estimators.errors import InfeasibleError


@pytest.mark.parametrize(
    ("asked", "cpus", "cores", "predictors", "threads", "reader_cpus", "readers"),
    [
        (0, 2, 2, 1, 2, 1.0, 1),  # a laptop: one predictor decodes on both cores, and reading has a CPU of Ray's
        (0, 4, 4, 3, 1, 1.0, 1),
        (0, 16, 16, 15, 1, 0.25, 4),  # many predictors want several readers, which share the CPU that is left
        (0, 48, None, 47, 1, 0.0833, 12),
        (0, 25, None, 24, 1, 0.1666, 6),  # six of Ray's 0.1667 would not fit into one
        (3, 16, 16, 3, 5, 1.0, 13),
        (2, 3, 2, 2, 1, 1.0, 1),  # oversubscribed on request
        (8, 4, None, 3, 1, 1.0, 1),  # a joined cluster with fewer CPUs than predictors are asked for
        (2, 64, None, 2, 2, 1.0, 62),  # a joined cluster, of which others want their part
        (0, 2, None, 1, 2, 1.0, 1),
        (0, 1, 1, 1, 1, 0.0, None),  # no CPU is left: reading must not ask for one
        (0, 1.5, 1, 1, 1, 0.0, None),
    ],
)
def test_predictors_leave_a_cpu_for_reading(asked, cpus, cores, predictors, threads, reader_cpus, readers):
    plan = plan_pool(max_worker_count=asked, cpus=cpus, cores=cores, pieces=400)
    assert plan == PoolPlan(predictors, threads, reader_cpus, readers)


def test_there_are_no_more_predictors_than_pieces():
    assert plan_pool(max_worker_count=0, cpus=64, cores=64, pieces=2) == PoolPlan(
        2, threads=32, reader_cpus=1.0, readers=62
    )


@pytest.mark.parametrize(
    ("each", "gpus", "predictors"), [(1, 4, 4), (2, 5, 2), (0.5, 2, 4), (0.1, 0.3, 3), (1, 99, 15)]
)
def test_there_are_as_many_predictors_as_gpus_are_for(each, gpus, predictors):
    plan = plan_pool(max_worker_count=0, cpus=16, cores=16, pieces=400, gpus_per_worker=each, gpus=gpus)
    assert (plan.predictors, plan.gpus) == (predictors, each)


def test_gpus_that_are_not_there_are_told():
    with pytest.raises(InfeasibleError, match="--gpus_per_worker=2"):
        plan_pool(max_worker_count=0, cpus=16, cores=16, pieces=400, gpus_per_worker=2, gpus=1)


@pytest.mark.parametrize(("asked", "cores", "cpus"), [(0, 1, 2), (0, 2, 2), (0, 16, 16), (2, 2, 3), (5, 2, 6)])
def test_ray_gets_a_cpu_for_each_predictor_and_one_for_reading(asked, cores, cpus):
    assert cpus_wanted(asked, cores) == cpus
