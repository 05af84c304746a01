"""A pool of predictors, fed with blocks by reference, so that a photo never passes through the driver.

A pool of our own rather than Ray Data's (`map_batches` with a class): it can be started before Ray Data is even
imported, so that TensorFlow loads while the reading begins; what a predictor died of is looked for, where Ray Data
would start it anew for ever; and an actor of ours imports no Ray Data.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import ray

from cvd_cluster.prediction.crash_search import records_that_crash
from cvd_cluster.prediction.pool_plan import PoolPlan
from cvd_cluster.prediction.predictor import Predictor, PredictorSettings
from cvd_cluster.prediction.silence import with_silence_told
from estimators.errors import InfrastructureError, one_line

# The blocks that a predictor works on at the same time: while TensorFlow decodes one, Python prepares the other.
_BLOCKS_IN_FLIGHT = 2
_SECONDS_OF_SILENCE = 60.0
_LOOK_SECS = 1.0
# A process may be killed for many reasons; a block in which one dies a second time is looked into.
_DEATHS_TOLERATED = 1
# A dozen pieces in a row may each hold a record that is deadly; each is given to two predictors. And all predictors may
# die at once, with their node, say.
_DEATHS_IN_A_ROW, _DEATHS_OF_EACH = 24, 3


@dataclass
class _Work:
    """A block on its way.

    Attributes:
      block: the reference to it.
      deaths: how many predictors died while they worked on it.
    """

    block: Any
    deaths: int = 0


@contextlib.contextmanager
def predictor_pool(
    plan: PoolPlan,
    settings: PredictorSettings,
    *,
    announce: Callable[[str], None],
    under_way: Callable[[int], None],
) -> Iterator[PredictorPool]:
    """Starts the predictors, and ends them at the end; does not wait until they are ready. See PredictorPool."""
    actor_class = ray.remote(
        num_cpus=1,
        num_gpus=plan.gpus,
        max_restarts=0,
        max_concurrency=_BLOCKS_IN_FLIGHT + 1,  # one tells how far they are
    )(Predictor)
    pool = PredictorPool(
        lambda: actor_class.remote(settings), plan.predictors, settings.batch_size, announce, under_way
    )
    try:
        yield pool
    finally:
        pool.end()


class PredictorPool:
    """Predictors that take turns. They begin to load the model at once.

    Args:
      start: starts a predictor and gives its handle.
      predictors: how many there are.
      batch_size: records of a batch.
      announce: takes a line if nothing happens for long, or a predictor dies.
      under_way: called each second in which no block gets ready, with the records that are predicted in those that are
        not.
    """

    def __init__(
        self,
        start: Callable[[], Any],
        predictors: int,
        batch_size: int,
        announce: Callable[[str], None],
        under_way: Callable[[int], None],
    ) -> None:
        self._start, self._batch_size, self._announce, self._tell_under_way = start, batch_size, announce, under_way
        self._most_deaths = max(_DEATHS_IN_A_ROW, _DEATHS_OF_EACH * predictors)
        # What is under way -> whose it is, and which block; None is loading, which takes a place of each predictor.
        self._working: dict[Any, tuple[Any, _Work | None]] = {}
        self._free: list[Any] = []
        self._actors: list[Any] = []
        self._again: list[_Work] = []
        self._suspects: list[_Work] = []
        self._deaths_in_a_row = 0
        self._tried_on: Any = None  # the predictor that the records of a suspect are given to
        self._asked: dict[Any, Any] = {}  # predictor -> the question how far it is, which it has not answered yet
        self._counts: dict[Any, int] = {}  # predictor -> its last answer
        for _ in range(predictors):
            self._add_predictor()

    def predict(self, blocks: Iterable[Any]) -> Iterator[list[Any]]:
        """Yields the parts of each block, in the order they get ready.

        Args:
          blocks: references to tables of piece_columns.SCHEMA; taken one by one, as predictors get free.

        Raises:
          ray.exceptions.RayError: a predictor raised an error (which is the `cause`).
          InfrastructureError: predictors keep dying, whatever they are given.
        """
        for block in with_silence_told(blocks, self._announce, what="nothing was read"):
            # What killed is not put off: between pieces that are good, deaths are none in a row.
            while self._again:
                yield from self._give(self._again.pop())
            yield from self._give(_Work(block))
            if self._suspects:
                yield self._look_into(self._suspects.pop())
        # One that still loads and was given nothing is not waited for, nor is one that had time enough to load.
        while self._suspects or self._again or any(work is not None for _, work in self._working.values()):
            if self._suspects:
                yield self._look_into(self._suspects.pop())
            elif self._again:
                yield from self._give(self._again.pop())
            else:
                yield from self._ready(_SECONDS_OF_SILENCE)

    def end(self) -> None:
        """Ends all predictors."""
        for actor in self._actors:
            ray.kill(actor)

    def _add_predictor(self) -> None:
        actor = self._start()
        self._actors.append(actor)
        self._working[actor.load.remote()] = actor, None
        self._free += [actor] * (_BLOCKS_IN_FLIGHT - 1)

    def _give(self, work: _Work) -> Iterator[list[Any]]:
        while not self._free:
            yield from self._ready(_SECONDS_OF_SILENCE)
        actor = self._free.pop()
        self._working[actor.predict.remote(work.block)] = actor, work
        yield from self._ready(0)

    def _ready(self, seconds: float) -> Iterator[list[Any]]:
        """What is ready first, if it is so within that time."""
        until = time.monotonic() + seconds
        ready, _ = ray.wait(list(self._working), num_returns=1, timeout=min(seconds, _LOOK_SECS))
        while not ready and time.monotonic() < until:
            self._tell_under_way(self._count_under_way())
            ready, _ = ray.wait(list(self._working), num_returns=1, timeout=_LOOK_SECS)
        if not ready and seconds:
            free = ray.available_resources().get("CPU", 0.0)
            self._announce(f"nothing was predicted for {seconds:.0f} seconds; {free:g} of Ray's CPUs are free")
            self._take_back()
        for result in ready:
            actor, work = self._working.pop(result)
            try:
                parts = ray.get(result)
            except ray.exceptions.RayActorError as error:
                self._died(actor, work, error)
                continue
            if actor in self._actors:  # it may have died of another block since
                self._free += [actor] * self._idle_places(actor)
            self._counts.pop(actor, None)  # of its records some were in this block
            self._asked.pop(actor, None)
            if work is not None:
                self._deaths_in_a_row = 0
                yield parts

    def _idle_places(self, actor: Any) -> int:
        """How many more blocks it may be given; of one that has loaded, those taken back before that among them."""
        taken = sum(one is actor for one, _ in self._working.values()) + sum(one is actor for one in self._free)
        return _BLOCKS_IN_FLIGHT - taken

    def _take_back(self) -> None:
        """Takes blocks from predictors that have not come up in all that time, for those that have.

        Others may hold the CPU that one is waiting for, or GPUs be free in fractions of several machines alone.
        """
        loading = [actor for actor, work in self._working.values() if work is None]
        if len(loading) == len(self._actors):
            return
        for result, (actor, work) in list(self._working.items()):
            if work is not None and actor in loading:
                del self._working[result]
                ray.cancel(result)
                self._again.append(work)

    def _count_under_way(self) -> int:
        """As the predictors said it a moment ago: one that is still starting must not be waited for."""
        counted = 0
        for actor in self._actors:
            call = self._asked.get(actor)
            if call is not None and ray.wait([call], timeout=0)[0]:
                del self._asked[actor]
                with contextlib.suppress(ray.exceptions.RayError):  # that it died is noticed by what it worked on
                    self._counts[actor] = int(ray.get(call))
            if actor not in self._asked:
                self._asked[actor] = actor.under_way.remote()
            counted += self._counts.get(actor, 0)
        return counted

    def _died(self, actor: Any, work: _Work | None, error: Exception) -> None:
        if work is not None:
            work.deaths += 1
            (self._again if work.deaths <= _DEATHS_TOLERATED else self._suspects).append(work)
        if actor in self._actors:
            self._replace(actor, error)

    def _replace(self, actor: Any, error: Exception) -> None:
        self._deaths_in_a_row += 1
        if self._deaths_in_a_row > self._most_deaths:
            last = one_line(error)
            raise InfrastructureError(
                "Predictors keep dying",
                found=f"{self._deaths_in_a_row} deaths in a row, the last of them: {last}",
                change="a smaller --batch_size or --max_worker_count if memory runs out; else look at the model. What "
                "is predicted already is kept, and the same command goes on",
            )
        self._announce("a predictor's process died; another one takes its place")
        ray.kill(actor)  # it may only be out of reach
        self._actors.remove(actor)
        self._asked.pop(actor, None)
        self._counts.pop(actor, None)
        self._free = [one for one in self._free if one is not actor]
        self._add_predictor()

    def _look_into(self, work: _Work) -> list[Any]:
        """Finds the records of a block that crash a predictor, and predicts the rest."""
        self._tried_on = self._idle_predictor()
        self._announce("two predictors died while they worked on the same records: looking for what they died of")
        block = ray.get(work.block)
        crashing = records_that_crash(
            block, self._batch_size, lambda row, begin, end: self._attempt(work, row, begin, end)
        )
        del block
        parts: list[Any] | None = None
        while parts is None:
            parts = self._survived("predict", work.block, crashing)
        return parts

    def _idle_predictor(self) -> Any:
        """One that has loaded and done all it was given: what dies in a trial is to take no other block with it."""
        while True:
            results = list(self._working)
            _, pending = ray.wait(results, num_returns=len(results), timeout=0)
            busy = [self._working[result][0] for result in pending]
            if idle := [actor for actor in self._actors if actor not in busy]:
                return idle[0]
            if not ray.wait(pending, num_returns=1, timeout=_SECONDS_OF_SILENCE)[0]:
                self._announce(f"no predictor for {_SECONDS_OF_SILENCE:g} seconds to look for bad records with")

    def _attempt(self, work: _Work, row: int, begin: int, end: int) -> int | None:
        while True:
            answered: int | None = self._survived("attempt", work.block, row, begin, end)
            if answered is not None:
                return answered
            # The next one loads the model anyway. If it lives where it is given nothing, it was these records, and
            # their deaths are none of those in a row that end a run. If it dies as well, something else kills, and
            # the records are given another try.
            if self._survived("attempt", work.block, row, begin, begin) is not None:
                return None

    def _survived(self, method: str, *arguments: Any) -> Any:
        """What one predictor answers; None if it died."""
        call = getattr(self._tried_on, method).remote(*arguments)
        while not ray.wait([call], timeout=_SECONDS_OF_SILENCE)[0]:
            self._announce(f"no answer for {_SECONDS_OF_SILENCE:g} seconds from a predictor that looks for bad records")
        try:
            answer = ray.get(call)
        except ray.exceptions.RayActorError as error:
            self._replace(self._tried_on, error)
            self._tried_on = self._idle_predictor()  # whichever is first: its successor may find no room
            return None
        self._deaths_in_a_row = 0
        return answer
