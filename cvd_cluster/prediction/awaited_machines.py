"""Machines that inference asks for and that are not up: the cluster's autoscaler brings them before it begins."""

from __future__ import annotations

import bisect
from collections.abc import Callable
from dataclasses import dataclass

from cvd_cluster.autoscaler import Autoscaler, autoscaler_of_cluster, patience
from cvd_cluster.placement import first_that_does_not_fit, nodes_there_are, placed
from cvd_cluster.prediction.prediction_options import PredictionOptions
from estimators.errors import InfeasibleError

# Longer than Ray needs to place what has room. Others' work is not waited for: predictors begin one by one.
_BUSY_SECS = 10.0


@dataclass(frozen=True)
class _Process:
    name: str
    cpus: float
    gpus: float


def await_machines(options: PredictionOptions, pieces: int, announce: Callable[[str], None]) -> None:
    """Waits for nodes for the predictors that are asked for, or for as many of these as there may ever be nodes for.

    Without --max_worker_count no more is asked for than one predictor needs: what there is, is what is used. Does
    nothing where the nodes are there, or nobody is said to bring any. If too few come in time, those that came do.

    Args:
      options: of the run.
      pieces: how many pieces there are to predict; no more predictors than that are wanted.
      announce: takes a line if there is something to wait for.

    Raises:
      InfeasibleError: not even one predictor will ever have room, or the nodes for it do not come.
    """
    wanted = max(1, min(options.max_worker_count or 1, pieces))
    if _is_room_for(_processes(options, wanted)):
        return
    autoscaler = autoscaler_of_cluster()
    timeout_secs = patience(options.placement_timeout_secs, autoscaler)
    if not timeout_secs and autoscaler is None:
        return
    try:
        processes = _most_possible(options, wanted, autoscaler) if autoscaler else _processes(options, wanted)
        # Given back at once: a node that came stays for minutes, and the predictors ask for its CPUs themselves.
        with placed(
            processes, timeout_secs=timeout_secs, busy_secs=_BUSY_SECS, autoscaler=autoscaler, announce=announce
        ):
            pass
    except InfeasibleError as error:
        if _is_room_for(_processes(options, 1)[:1]):  # reading may share its CPU
            announce(f"only some of {wanted} predictors have room ({error.found}); starting those")
            return
        raise InfeasibleError(
            error.summary,
            asked=error.asked,
            found=error.found,
            change="--gpus_per_worker or --max_worker_count, or the machines that the cluster's file allows; "
            "--placement_timeout_secs if they need longer to come up",
        ) from None


def _is_room_for(processes: list[_Process]) -> bool:
    return first_that_does_not_fit(processes, nodes_there_are()) is None


def _processes(options: PredictionOptions, predictors: int) -> list[_Process]:
    return [
        *(_Process(f"predictor-{index}", 1.0, options.gpus_per_worker) for index in range(predictors)),
        _Process("reader-0", 1.0, 0.0),
    ]


def _most_possible(options: PredictionOptions, wanted: int, autoscaler: Autoscaler) -> list[_Process]:
    def too_many(predictors: int) -> bool:
        try:
            autoscaler.check_can_hold(_processes(options, predictors))
        except InfeasibleError:
            return True
        return False

    possible = bisect.bisect_left(range(1, wanted + 1), True, key=too_many)
    # With none possible, to be told what one would need.
    return _processes(options, max(1, possible))
