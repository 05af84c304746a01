"""Computes the parts that are not finished: reads with Ray Data, predicts with a pool of predictors."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Callable, Sequence

from cvd_cluster.embedded_ray import usable_cores
from cvd_cluster.lost_ray import lost_ray_ends
from cvd_cluster.node_look import look_from
from cvd_cluster.prediction.awaited_machines import await_machines
from cvd_cluster.prediction.bad_records import bad_record_error
from cvd_cluster.prediction.finished_parts import FinishedParts
from cvd_cluster.prediction.input_files import PIECE_BYTES, InputFile
from cvd_cluster.prediction.part_columns import ERROR, damage_row, report_of
from cvd_cluster.prediction.pool_plan import PoolPlan, cpus_wanted, plan_pool
from cvd_cluster.prediction.prediction_options import FAIL, PredictionOptions
from cvd_cluster.prediction.predictor import PredictorSettings
from cvd_cluster.prediction.preparation import Prepared
from cvd_cluster.prediction.progress import Progress
from cvd_cluster.prediction.reading_ahead import read_ahead
from cvd_cluster.prediction.reading_plan import ReadingTask, is_sure, pieces_to_read_again, reading_tasks
from cvd_cluster.ray_session import RaySession, ray_session, starts_ray_here
from estimators.submission.target import write_errors_told
from estimators.train_dir.exports import SAVED_MODEL


def predict_missing_parts(
    options: PredictionOptions,
    prepared: Prepared,
    parts: FinishedParts,
    progress: Progress,
    announce: Callable[[str], None],
) -> int:
    """Computes what is missing among the parts.

    Args:
      options: of the run.
      prepared: the same.
      parts: what is finished; gets the rest.
      progress: is told of each part.
      announce: takes a line for the user.

    Returns:
      How many predictors were started; 0 if nothing was missing.

    Raises:
      DataError: a record is bad, and that is to end the run; or a file cannot be read.
      UserError: the model cannot be used.
      InfrastructureError: Ray failed.
    """
    run = _Run(options, prepared, parts, progress)
    run.look_at_what_is_kept(announce)
    tasks = run.next_tasks()
    if not tasks:
        return 0
    cores = usable_cores()
    if starts_ray_here():
        read_ahead(prepared.files, tasks)
    with ray_session(
        cpus_needed=cpus_wanted(options.max_worker_count, cores),
        gpus_needed=options.gpus_per_worker,
        announce=announce,
    ) as session:
        # Nobody knows how many pieces a packed file has; more than its own size would make.
        pieces = sum(len(task.pieces) or 1 + prepared.files[task.file].size // PIECE_BYTES for task in tasks)
        if not session.started_here:
            await_machines(options, pieces, announce)
            _look_at_nodes(options, prepared)
        plan = _plan(options, session, cores, pieces, announce)
        with lost_ray_ends(session, change="run the command again: what is finished is kept"):
            run.compute(tasks, plan, session, announce)
        return plan.predictors


class _Run:
    def __init__(
        self, options: PredictionOptions, prepared: Prepared, parts: FinishedParts, progress: Progress
    ) -> None:
        self._options, self._prepared, self._parts, self._progress = options, prepared, parts, progress
        self._files: Sequence[InputFile] = prepared.files
        self._bad: list[set[int]] = [set() for _ in prepared.files]  # of each file, the pieces with bad records

    def look_at_what_is_kept(self, announce: Callable[[str], None]) -> None:
        kept = [(index, number) for index, parts in enumerate(self._parts.of_file) for number in sorted(parts)]
        for index, number in kept:
            self._fail_if_bad(index, number)
        if kept:
            size = sum(self._bytes(index, number) for index, number in kept)
            announce(f"{self._parts.rows} records were predicted by an earlier run and are kept")
            self._progress.keep(self._parts.rows, size)

    def next_tasks(self) -> list[ReadingTask]:
        """What is to be read; first what is missing, then what was begun at a wrong place."""
        tasks = reading_tasks(self._files, self._parts.of_file)
        if tasks:
            return tasks
        again = pieces_to_read_again(self._files, self._parts.of_file)
        for piece in again:
            self._progress.done -= self._parts.of_file[piece.file][piece.number].rows
            self._parts.forget(piece.file, piece.number)
            self._bad[piece.file].discard(piece.number)
        return [ReadingTask(piece.file, (piece,)) for piece in again]

    def compute(
        self, tasks: list[ReadingTask], plan: PoolPlan, session: RaySession, announce: Callable[[str], None]
    ) -> None:
        from cvd_cluster.prediction.predictor_pool import predictor_pool
        from cvd_cluster.ray_errors import told_plainly

        settings = PredictorSettings(
            model_dir=self._prepared.model.model_dir,
            model_digest=self._prepared.model_digest,
            batch_size=self._options.batch_size,
            threads=plan.threads,
            max_image_pixels=self._options.max_image_pixels,
            on_gpu=plan.gpus > 0,
        )
        with (
            told_plainly("predicting", smaller="a smaller --batch_size or --max_worker_count"),
            predictor_pool(plan, settings, announce=announce, under_way=self._progress.tell_under_way) as pool,
        ):
            # Ray Data is imported, which takes a second, while the predictors load TensorFlow.
            from cvd_cluster.prediction.record_blocks import record_blocks

            while tasks:
                blocks = record_blocks(
                    self._files,
                    tasks,
                    num_readers=min(self._options.num_readers, plan.readers or self._options.num_readers),
                    reader_cpus=plan.reader_cpus,
                    own_ray=session.started_here,
                )
                # Closed here, not when it is collected: that may be after the end of Ray, of which it asks something.
                with contextlib.closing(blocks):
                    for some in pool.predict(blocks):
                        for part in some:
                            self._finish(part)
                tasks = self.next_tasks()

    def _finish(self, part: bytes) -> None:
        with write_errors_told(self._options.output, flag=self._options.output_flag.lstrip("-")):
            report, finished = self._parts.add(part)
        self._progress.advance(finished.rows, self._bytes(report.file, report.number))
        self._fail_if_bad(report.file, report.number)

    def _fail_if_bad(self, file: int, number: int) -> None:
        """Looks at a part that was finished now, and at those before which it was missing.

        A piece that was begun inside of a record may show what is no record of the file: it is no reason to fail.
        """
        if self._options.on_bad_record != FAIL:
            return
        finished, bad = self._parts.of_file[file], self._bad[file]
        if finished[number].bad or finished[number].lost:
            bad.add(number)
        if not bad or not is_sure(self._files[file], finished, min(bad)):
            return
        table = self._parts.read(file, min(bad))
        rows = table.filter(table[ERROR].is_valid()).slice(0, 1).to_pylist()
        lost = report_of(table).lost
        rows += damage_row(lost).to_pylist() if lost else []
        raise bad_record_error(self._files[file].path, rows[0])

    def _bytes(self, file: int, number: int) -> int:
        of = self._files[file]
        if of.gzip:
            return of.size if self._parts.of_file[file][number].eof is not None else 0
        piece = of.piece(file, number)
        return piece.end - piece.begin


def _look_at_nodes(options: PredictionOptions, prepared: Prepared) -> None:
    """Looks at each node that readers and predictors may come to, but for those that have just gone."""
    import ray

    from cvd_cluster.reachable_nodes import reachable_nodes

    there = reachable_nodes()
    model_dir = prepared.model.model_dir
    look_from(
        [node["NodeID"] for node in ray.nodes() if node["NodeID"] in there and node["Resources"].get("CPU")],
        [os.path.join(model_dir, SAVED_MODEL), *(file.path for file in prepared.files)],
        asked=f"--input_data_pattern={options.input_data_pattern}, and the model in {model_dir}",
        what="the data or the model",
    )


def _plan(
    options: PredictionOptions, session: RaySession, cores: int, pieces: int, announce: Callable[[str], None]
) -> PoolPlan:
    import ray

    resources = ray.cluster_resources()
    cpus = float(resources.get("CPU", 1.0))
    plan = plan_pool(
        max_worker_count=options.max_worker_count,
        cpus=cpus,
        cores=cores if session.started_here else None,
        pieces=pieces,
        gpus_per_worker=options.gpus_per_worker,
        gpus=float(resources.get("GPU", 0.0)),
    )
    free = float(ray.available_resources().get("CPU", 0.0))
    if free < plan.predictors + plan.reader_cpus:
        announce(f"{free:g} of the cluster's {cpus:g} CPUs are free: {plan.predictors} predictors wait for the others")
        if not session.started_here:
            # Predictors were asked for first, and take what gets free: no reader would ever have a CPU of its own.
            plan = dataclasses.replace(plan, reader_cpus=0.0, readers=None)
    return plan
