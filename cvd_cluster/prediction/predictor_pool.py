"""A pool of predictors, fed with blocks by reference, so that a photo never passes through the driver.

A pool of our own rather than Ray Data's (`map_batches` with a class): it can be started before Ray Data is even
imported, so that TensorFlow loads while the reading begins; a predictor that dies is an error at once, where Ray Data
would start it anew for ever; and an actor of ours imports no Ray Data.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import ray

from cvd_cluster.prediction.pool_plan import PoolPlan
from cvd_cluster.prediction.predictor import Predictor
from cvd_cluster.prediction.submission_merge import Prediction

# The block that a predictor works on, and the one that it goes on with.
_BLOCKS_IN_FLIGHT = 2
_SECONDS_OF_SILENCE = 60.0


@contextlib.contextmanager
def predictor_pool(
    plan: PoolPlan, *, model_dir: str, batch_size: int, announce: Callable[[str], None]
) -> Iterator[PredictorPool]:
    """Starts the predictors, and ends them at the end; does not wait until they are ready."""
    actor_class = ray.remote(num_cpus=1, max_restarts=0)(Predictor)
    actors = [actor_class.remote(model_dir, batch_size, plan.threads) for _ in range(plan.predictors)]
    try:
        yield PredictorPool(actors, announce)
    finally:
        for actor in actors:
            ray.kill(actor)


class PredictorPool:
    """Predictors that take turns. They begin to load the model at once.

    Args:
      actors: handles of Predictor actors.
      announce: takes a line if nothing happens for long.
    """

    def __init__(self, actors: list[Any], announce: Callable[[str], None]) -> None:
        self._announce = announce
        # What is under way -> whose it is. Loading takes the first place in each predictor's queue.
        self._working: dict[Any, Any] = {actor.load.remote(): actor for actor in actors}
        self._free = actors * (_BLOCKS_IN_FLIGHT - 1)

    def predict(self, blocks: Iterable[Any]) -> Iterator[list[Prediction]]:
        """Yields the predictions of each block, in the order they get ready.

        Args:
          blocks: references to tables of record_source.SCHEMA; taken one by one, as predictors get free.

        Raises:
          ray.exceptions.RayError: a predictor died, or raised an error (which is the `cause`).
        """
        for block in blocks:
            while not self._free:
                yield from self._ready(_SECONDS_OF_SILENCE)
            actor = self._free.pop()
            self._working[actor.predict.remote(block)] = actor
            yield from self._ready(0)
        while self._working:
            yield from self._ready(_SECONDS_OF_SILENCE)

    def _ready(self, seconds: float) -> Iterator[list[Prediction]]:
        """What is ready first, if it is so within that time."""
        ready, _ = ray.wait(list(self._working), num_returns=1, timeout=seconds)
        if not ready and seconds:
            free = ray.available_resources().get("CPU", 0.0)
            self._announce(f"nothing was predicted for {seconds:.0f} seconds; {free:g} of Ray's CPUs are free")
        for result in ready:
            self._free.append(self._working.pop(result))
            predictions = ray.get(result)
            if predictions is not None:  # None comes from loading
                yield predictions
