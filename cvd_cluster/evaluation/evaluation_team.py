"""The workers of one evaluation, asked together and merged in a fixed order; one that dies is replaced once."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any

import ray

from cvd_cluster.evaluation.evaluation_worker import PartialEvaluation
from cvd_cluster.ray_errors import told_plainly
from cvd_cluster.supervision.room import Room
from estimators.checkpoints.checkpoint_files import Checkpoint
from estimators.errors import DataError, InfrastructureError, one_line
from estimators.evaluation.checkpoint_evaluator import EvaluationReport, progress_line
from estimators.inputs.data_check import DataFiles
from estimators.inputs.skipped_records import SkippedRecords
from estimators.metrics import EvaluationMetrics, EvaluationResult

_POLL_SECS = 0.05
_LOOK_SECS = 1.0
_SECONDS_OF_SILENCE = 60.0
# A process, or the node with it, is gone: either before it answered, or with its answer.
_LOST = (ray.exceptions.RayActorError, ray.exceptions.OutOfMemoryError, ray.exceptions.ObjectLostError)


class EvaluationTeam:
    """A `CheckpointEvaluator` of several processes. They begin to load TensorFlow at once.

    Args:
      start_worker: starts the worker of this index, and returns the handle of its actor, an EvaluationWorker.
      size: how many workers there are.
      room: their bundles.
      placement_timeout_secs: how long a node is waited for, when one is lost with a worker.
      data: the validation files.
      report: where lines go.
    """

    def __init__(
        self,
        start_worker: Callable[[int], Any],
        size: int,
        room: Room,
        data: DataFiles,
        report: EvaluationReport,
        *,
        placement_timeout_secs: float,
    ) -> None:
        self._start_worker, self._data, self._report = start_worker, data, report
        self._room, self._placement_timeout = room, placement_timeout_secs
        self._skipped = SkippedRecords(report.line)
        self._workers = [start_worker(index) for index in range(size)]
        self._loading = [worker.load.remote() for worker in self._workers]

    def wait_until_loaded(self) -> None:
        """Returns once every worker has built its graph.

        Raises:
          UserError: the model or the loss does not fit.
          InfrastructureError: a worker died, or Ray is gone.
        """
        with _told_plainly():
            waiting = list(self._loading)
            for call in self._as_they_come(waiting, "built"):
                waiting.remove(call)
                ray.get(call)

    def evaluate(self, checkpoint: Checkpoint) -> EvaluationResult:
        """The metrics of one checkpoint over all examples, those of one process to the last bit.

        Raises:
          UnreadableCheckpointError: it cannot be restored.
          DataError: a record is damaged, or the data are not what they were when their records were counted.
          InfrastructureError: a worker died, and so did the one that took its place, or there is no room for that one;
            or Ray is gone.
        """
        with _told_plainly():
            found = self._evaluate_parts(checkpoint)
        whole = EvaluationMetrics()
        for index in sorted(found):
            whole.merge(found[index].metrics)
            for what in found[index].skipped:
                self._skipped.add(what)
        self._skipped.summarize()
        result = whole.result()
        check_complete(result.examples, sum(len(part.skipped) for part in found.values()), self._data)
        return result

    def stop(self) -> None:
        """Ends all workers."""
        for worker in self._workers:
            _end(worker)

    def _evaluate_parts(self, checkpoint: Checkpoint) -> dict[int, PartialEvaluation]:
        """The part of each worker, by its index."""
        started, examples = time.monotonic(), 0
        found: dict[int, PartialEvaluation] = {}
        working = {worker.evaluate.remote(checkpoint): index for index, worker in enumerate(self._workers)}
        replaced: set[int] = set()
        for call in self._as_they_come(working, "evaluated"):
            index = working.pop(call)
            try:
                found[index] = ray.get(call)
            except _LOST as error:
                self._replace(index, checkpoint, error, already=index in replaced)
                replaced.add(index)
                working[self._workers[index].evaluate.remote(checkpoint)] = index
                continue
            part = found[index].metrics.result()
            examples += part.examples
            seconds = time.monotonic() - started
            self._report.line(
                progress_line(
                    checkpoint.step, examples, seconds, hit_at_one=part.hit_at_one, perr=part.perr, loss=part.loss
                )
            )
        return found

    def _replace(self, index: int, checkpoint: Checkpoint, error: BaseException, *, already: bool) -> None:
        reason = one_line(error)
        if already:
            raise InfrastructureError(
                f"Evaluation worker {index} died, and so did the one that took its place",
                asked=f"the evaluation of step {checkpoint.step}",
                found=f"{type(error).__name__}: {reason}",
                change="run the command again; if processes are killed for lack of memory, with fewer --eval_workers "
                "or a smaller --batch_size",
            )
        self._report.line(
            f"evaluation worker {index} died ({type(error).__name__}); a new one evaluates its part of step "
            f"{checkpoint.step} again"
        )
        _end(self._workers[index])
        self._find_room(index)
        self._workers[index] = self._start_worker(index)

    def _find_room(self, index: int) -> None:
        """Where a node is lost, Ray looks for another one for its bundles."""
        if not self._room.wait_until_whole(self._placement_timeout, pause=self._pause):
            raise InfrastructureError(
                f"A node was lost, and the cluster has no room for evaluation worker {index} any more",
                asked=f"as many CPUs and GPUs as before, within --placement_timeout_secs={self._placement_timeout:g}",
                found="no node with so many free",
                change="fewer --eval_workers, or --placement_timeout_secs to wait longer; what is evaluated is kept",
            )

    def _pause(self) -> None:
        time.sleep(_LOOK_SECS)
        self._report.beat()
        self._room.check_served()

    def _as_they_come(self, calls: Any, done: str) -> Iterator[Any]:
        """Calls that have ended, one by one, as long as there are any; the caller takes them out of `calls`."""
        heard_at = looked_at = time.monotonic()
        while calls:
            ready, _ = ray.wait(list(calls), num_returns=1, timeout=0)
            self._report.beat()
            if ready:
                heard_at = time.monotonic()
                yield ready[0]
                continue
            # Not in `ray.wait`, where a SIGTERM would end this process with another exit code than its own.
            time.sleep(_POLL_SECS)
            if time.monotonic() - looked_at > _LOOK_SECS:
                self._room.check_served()
                looked_at = time.monotonic()
            if time.monotonic() - heard_at > _SECONDS_OF_SILENCE:
                heard_at = time.monotonic()
                free = ray.available_resources().get("CPU", 0.0)
                self._report.line(
                    f"no part was {done} for {_SECONDS_OF_SILENCE:.0f} seconds; {free:g} of Ray's CPUs are free"
                )


def check_complete(examples: int, skipped: int, data: DataFiles) -> None:
    """Makes sure that every record was counted exactly once.

    Args:
      examples: evaluated, over all parts.
      skipped: records that were left out.
      data: whose records were counted before.

    Raises:
      DataError: they do not add up.
    """
    # Where the rest of a file is unreadable, that damage is one that is skipped, but no record that was counted.
    most = data.examples + (len(data.paths) if skipped else 0)
    if not data.examples <= examples + skipped <= most:
        raise DataError(
            "The parts of the evaluation do not add up to the data set",
            asked=f"{data.examples} records in {len(data.paths)} files, as counted at the start",
            found=f"{examples} evaluated and {skipped} skipped",
            change="let nobody change the files during an evaluation; if they are older than manifest.json beside "
            "them, or newer, make that anew or delete it",
        )


def _end(worker: Any) -> None:
    with contextlib.suppress(Exception):  # it is dead already, or Ray is
        ray.kill(worker)


def _told_plainly() -> contextlib.AbstractContextManager[None]:
    return told_plainly("evaluating", smaller="fewer --eval_workers or a smaller --batch_size")
