"""The front door of distributed inference: options -> one submission CSV."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator
from dataclasses import dataclass

from cvd_cluster.embedded_ray import usable_cores
from cvd_cluster.prediction.pool_plan import PoolPlan, cpus_wanted, plan_pool
from cvd_cluster.prediction.prediction_options import PredictionOptions
from cvd_cluster.prediction.preparation import Prepared, prepare
from cvd_cluster.prediction.progress import shown_progress
from cvd_cluster.prediction.submission_merge import Prediction, SubmissionMerge
from cvd_cluster.prediction.submission_output import WriteRows, csv_output, json_output
from cvd_cluster.ray_session import RaySession, ray_session


@dataclass(frozen=True)
class PredictionResult:
    """A finished submission.

    Attributes:
      output: the CSV, or the folder of JSON lines.
      model_dir: the SavedModel it was made with.
      rows: photos predicted.
      predictors: how many processes predicted them.
      seconds: from the start of Ray to the finished CSV.
      seconds_to_first: from the start of Ray to the first predictions.
    """

    output: str
    model_dir: str
    rows: int
    predictors: int
    seconds: float
    seconds_to_first: float

    def __str__(self) -> str:
        return (
            f"wrote {self.rows} rows to {self.output}: {self.seconds:.2f} seconds, "
            f"{self.rows / self.seconds:.1f} photos/s, first prediction after {self.seconds_to_first:.2f} seconds"
        )


def run_prediction(options: PredictionOptions, *, announce: Callable[[str], None] = print) -> PredictionResult:
    """Predicts all records of the input files and writes the submission, in their order.

    Args:
      options: what to predict, with what, and where to.
      announce: takes a line for the user.

    Raises:
      UserError: something that was asked for is not there or not usable; nothing was started or written.
      DataError: a record is damaged or cannot be predicted; an older output file is as it was.
      InfrastructureError: Ray failed; the same holds.
    """
    prepared = prepare(options, announce)
    cores = usable_cores()
    with (
        shown_progress(prepared.records, announce) as progress,
        ray_session(cpus_needed=cpus_wanted(options.max_worker_count, cores), announce=announce) as session,
    ):
        plan = _plan(options, prepared, session, cores, announce)
        with (
            _output(options, prepared) as write,
            # Closed here, not when it is collected: that may be after the end of Ray, of which it still asks something.
            contextlib.closing(_predictions(options, prepared, plan, session, announce)) as predictions,
        ):
            merge = SubmissionMerge(prepared.shards, write)
            for some in predictions:
                merge.add(some)
                progress.advance(len(some))
            merge.finish()
        result = PredictionResult(
            output=options.output,
            model_dir=prepared.model_dir,
            rows=progress.done,
            predictors=plan.predictors,
            seconds=progress.elapsed,
            seconds_to_first=progress.seconds_to_first or progress.elapsed,
        )
    announce(str(result))
    return result


def _output(options: PredictionOptions, prepared: Prepared) -> contextlib.AbstractContextManager[WriteRows]:
    if options.output_path:
        return json_output(options.output_path, len(prepared.shards))
    return csv_output(options.output)


def _plan(
    options: PredictionOptions,
    prepared: Prepared,
    session: RaySession,
    cores: int,
    announce: Callable[[str], None],
) -> PoolPlan:
    import ray

    cpus = float(ray.cluster_resources().get("CPU", 1.0))
    plan = plan_pool(
        max_worker_count=options.max_worker_count,
        cpus=cpus,
        cores=cores if session.started_here else None,
        blocks=sum(shard.blocks for shard in prepared.shards),
    )
    free = float(ray.available_resources().get("CPU", 0.0))
    if free < plan.predictors + plan.reader_cpus:
        announce(f"{free:g} of the cluster's {cpus:g} CPUs are free: {plan.predictors} predictors wait for the others")
    return plan


def _predictions(
    options: PredictionOptions,
    prepared: Prepared,
    plan: PoolPlan,
    session: RaySession,
    announce: Callable[[str], None],
) -> Generator[list[Prediction], None, None]:
    """The predictions of all records, a block at a time, in the order they get ready."""
    from cvd_cluster.prediction.predictor_pool import predictor_pool
    from cvd_cluster.prediction.ray_errors import told_plainly

    with contextlib.ExitStack() as stack:
        stack.enter_context(told_plainly())
        pool = stack.enter_context(
            predictor_pool(plan, model_dir=prepared.model_dir, batch_size=options.batch_size, announce=announce)
        )
        # Ray Data is imported, which takes a second, while the predictors load TensorFlow.
        from cvd_cluster.prediction.record_blocks import record_blocks

        blocks = record_blocks(
            prepared.shards,
            num_readers=options.num_readers,
            reader_cpus=plan.reader_cpus,
            own_ray=session.started_here,
        )
        yield from pool.predict(stack.enter_context(contextlib.closing(blocks)))
