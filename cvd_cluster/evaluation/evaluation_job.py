"""The front door of evaluation by several processes: options -> checked, placed, every checkpoint evaluated."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from cvd_cluster.autoscaler import autoscaler_of_cluster, patience
from cvd_cluster.node_look import look_from
from cvd_cluster.placement import check_this_machine, placed
from cvd_cluster.ray_session import ray_session, starts_ray_here
from cvd_cluster.topology import Task
from estimators import storage
from estimators.errors import InfeasibleError
from estimators.evaluation.checkpoint_evaluator import begin_report
from estimators.evaluation.evaluation_options import EvaluationOptions
from estimators.evaluation.evaluation_run import PreparedEvaluation, prepare_evaluation
from estimators.inputs.data_check import DataFiles
from estimators.tensorflow_compat import quiet_tensorflow
from estimators.train_dir.experiment_file import EXPERIMENT_FILE


def evaluate_on_cluster(evaluation: EvaluationOptions, *, line: Callable[[str], None]) -> int:
    """Evaluates the checkpoints of a train_dir with `evaluation.eval_workers` processes on Ray.

    The results are those of one process, to the last bit where all of them have the same processor: each worker takes
    every n-th batch, and what is summed does not depend on the order.

    Args:
      evaluation: what to evaluate, with how many workers.
      line: called with each line for people.

    Returns:
      How many checkpoints were evaluated.

    Raises:
      UserError: something that was asked for is not there or does not fit; nothing was started then.
      DataError: a record is damaged.
      InfrastructureError: Ray failed, or a worker died twice.
    """
    prepared = _absolute(prepare_evaluation(evaluation, line=line))
    size = team_size(evaluation, prepared.data.examples, line)
    tasks = [Task("evaluator", index, 1.0, evaluation.gpus_per_worker) for index in range(size)]
    with _in_words_of_this_command():
        if starts_ray_here():
            check_this_machine(tasks)
        with ray_session(cpus_needed=size, gpus_needed=size * evaluation.gpus_per_worker, announce=line) as session:
            autoscaler = None if session.started_here else autoscaler_of_cluster()
            timeout_secs = patience(evaluation.placement_timeout_secs, autoscaler)
            with placed(tasks, timeout_secs=timeout_secs, autoscaler=autoscaler, announce=line) as group:
                if not session.started_here:
                    _look_at_nodes(evaluation, prepared, group)
                return _run(evaluation, prepared, tasks, group, timeout_secs, line)


def team_size(evaluation: EvaluationOptions, examples: int, line: Callable[[str], None]) -> int:
    """How many workers there is work for: at most one for each batch. Says so if they are fewer than asked for."""
    batches = math.ceil(examples / evaluation.batch_size)
    if batches < evaluation.eval_workers:
        smaller = examples // evaluation.eval_workers
        line(
            f"{examples} examples are {batches} batches of --batch_size={evaluation.batch_size}, so {batches} of "
            f"--eval_workers={evaluation.eval_workers} have work; all have with --batch_size={smaller}"
        )
    return min(batches, evaluation.eval_workers)


def _look_at_nodes(evaluation: EvaluationOptions, prepared: PreparedEvaluation, placement_group: object) -> None:
    import ray

    look_from(
        list(ray.util.placement_group_table(placement_group)["bundles_to_node_id"].values()),
        [os.path.join(prepared.options.train_dir, EXPERIMENT_FILE), *prepared.data.paths],
        asked=f"--train_dir={evaluation.train_dir} --eval_data_pattern={evaluation.eval_data_pattern}",
        what="--train_dir or the data",
    )


def _run(
    evaluation: EvaluationOptions,
    prepared: PreparedEvaluation,
    tasks: Sequence[Task],
    placement_group: object,
    placement_timeout_secs: float,
    line: Callable[[str], None],
) -> int:
    # Imported late: these import Ray, which ray_session does only once it has set what Ray reads at its import.
    import ray
    from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

    from cvd_cluster.evaluation.evaluation_team import EvaluationTeam
    from cvd_cluster.evaluation.evaluation_worker import EvaluationWorker, WorkerPart
    from cvd_cluster.supervision.room import Room

    actor_class = ray.remote(EvaluationWorker)

    def start_worker(index: int) -> object:
        part = WorkerPart(
            options=prepared.options,
            data=prepared.data,
            batch_size=evaluation.batch_size,
            index=index,
            count=len(tasks),
            with_gpu=evaluation.gpus_per_worker > 0,
        )
        place = PlacementGroupSchedulingStrategy(placement_group, placement_group_bundle_index=index)
        return actor_class.options(
            num_cpus=1, num_gpus=evaluation.gpus_per_worker, max_restarts=0, scheduling_strategy=place
        ).remote(part)

    report = begin_report(
        prepared.options.train_dir, line, eval_name=evaluation.eval_name, made_with=prepared.made_with
    )
    room = Room(placement_group, tasks)
    team = EvaluationTeam(
        start_worker, len(tasks), room, prepared.data, report, placement_timeout_secs=placement_timeout_secs
    )
    try:
        # TensorFlow, which the events for TensorBoard need, is imported here while the workers import theirs.
        quiet_tensorflow()
        from estimators.evaluation.continuous_evaluation import evaluate_continuously

        team.wait_until_loaded()
        return evaluate_continuously(prepared.options.train_dir, team, report, run_once=evaluation.run_once)
    finally:
        team.stop()


def _absolute(prepared: PreparedEvaluation) -> PreparedEvaluation:
    """The same with absolute paths: Ray's workers have a working directory of their own."""
    options = dataclasses.replace(prepared.options, train_dir=storage.absolute(prepared.options.train_dir))
    data = DataFiles(tuple(map(storage.absolute, prepared.data.paths)), prepared.data.counts)
    return dataclasses.replace(prepared, options=options, data=data)


@contextmanager
def _in_words_of_this_command() -> Iterator[None]:
    try:
        yield
    except InfeasibleError as error:
        raise InfeasibleError(
            error.summary,
            asked=error.asked,
            found=error.found,
            change="fewer --eval_workers or --gpus_per_worker; or a larger cluster (RAY_ADDRESS), with "
            "--placement_timeout_secs if its nodes come up on demand",
        ) from None
