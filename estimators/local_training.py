"""Runs an experiment in this process, without a cluster; the evaluator, if asked for, in a process beside it."""

from __future__ import annotations

import contextlib
import signal
import sys
import time
from collections.abc import Callable

from estimators.checkpoints.checkpoint_files import evaluated_steps, latest_checkpoint, prune
from estimators.errors import InfrastructureError, StoppedError
from estimators.evaluation.evaluation_identity import made_with
from estimators.evaluation.failed_evaluations import check_none_failed
from estimators.experiment_options import ExperimentOptions
from estimators.inputs.data_check import DataFiles
from estimators.model_graph.graph_check import build_graph
from estimators.preparation import prepare_run
from estimators.processes.child_process import ChildProcess, child_environment
from estimators.processes.reporting import ConsoleReporter
from estimators.processes.scratch_folder import scratch_folder
from estimators.processes.stop_signals import StopSignals, stop_signals
from estimators.storage_trouble import storage_trouble_told
from estimators.tensorflow_compat import quiet_tensorflow
from estimators.train_dir import train_dir_lock
from estimators.train_dir.experiment_file import begin
from estimators.train_dir.generation import begin_generation
from estimators.train_dir.run_state import RunState, write_run_state
from estimators.training_plan import Strategy, TrainingPlan


def train_locally(
    options: ExperimentOptions,
    *,
    strategy: Strategy = "local",
    num_replicas: int | None = None,
    start_new_model: bool,
    final_evaluation_timeout_secs: float,
) -> None:
    """Checks, trains to the last step, exports, and evaluates every checkpoint if `eval_data_pattern` is given.

    Args:
      options: of the run.
      strategy: "local", one replica; or "mirrored", one a GPU.
      num_replicas: under "mirrored" that many instead; None takes every GPU.
      start_new_model: empty train_dir first.
      final_evaluation_timeout_secs: how long after training the evaluator may take.

    Raises:
      HarnessError: with a message for people.
    """
    plan = plan_locally(options, strategy=strategy, num_replicas=num_replicas, start_new_model=start_new_model)
    quiet_tensorflow()
    if strategy == "mirrored":
        from estimators.mirrored_replicas import divide_processor

        divide_processor(plan.replicas_per_worker)
    build_graph(options, warm_start_from=plan.warm_start_from)
    from estimators.experiment import Experiment

    def train(scratch_dir: str, signals: StopSignals) -> None:
        generation = begin_generation(options.train_dir)
        experiment = Experiment(options, plan, "chief", 0, scratch_dir, ConsoleReporter(), generation)
        signals.when_received(experiment.requests.request_stop)
        experiment.train()

    with train_dir_lock.locked(options.train_dir), storage_trouble_told(options.train_dir):
        begin(options, start_new_model=start_new_model)
        _run(options, plan, train, final_evaluation_timeout_secs)


def plan_locally(
    options: ExperimentOptions,
    *,
    strategy: Strategy,
    num_replicas: int | None,
    start_new_model: bool,
    announce: Callable[[str], None] = print,
) -> TrainingPlan:
    """Checks and plans a run in this process; writes nothing. See `train_locally` and `prepare_run`."""

    def count() -> int:
        if strategy == "local":
            return 1
        quiet_tensorflow()
        from estimators.mirrored_replicas import count_replicas

        return count_replicas(num_replicas)

    return prepare_run(
        options, strategy=strategy, count_replicas=count, start_new_model=start_new_model, announce=announce
    )


def _run(
    options: ExperimentOptions,
    plan: TrainingPlan,
    train: Callable[[str, StopSignals], None],
    final_evaluation_timeout_secs: float,
) -> None:
    write_run_state(options.train_dir, RunState.RUNNING, plan.max_steps)
    evaluator = _start_evaluator(options) if plan.eval_data else None
    try:
        with scratch_folder("chief-0") as scratch_dir, stop_signals() as signals:
            train(scratch_dir, signals)
            signals.when_received(lambda: _raise_stopped(signals, options))
            if evaluator is not None:
                write_run_state(options.train_dir, RunState.EVALUATING, plan.max_steps)
                assert plan.eval_data is not None
                _finish_evaluation(evaluator, options, plan.eval_data, final_evaluation_timeout_secs)
    except (StoppedError, KeyboardInterrupt):  # the latter is a second Ctrl-C
        write_run_state(options.train_dir, RunState.STOPPED, plan.max_steps)
        raise
    except BaseException:
        with contextlib.suppress(Exception):  # a disk that is full or gone must not hide the error that says so
            write_run_state(options.train_dir, RunState.FAILED, plan.max_steps)
        raise
    finally:
        if evaluator is not None:
            evaluator.kill()
    write_run_state(options.train_dir, RunState.SUCCEEDED, plan.max_steps)


def _raise_stopped(signals: StopSignals, options: ExperimentOptions) -> None:
    raise signals.error(newest_checkpoint(options))


def newest_checkpoint(options: ExperimentOptions) -> str:
    """What is saved, for a message."""
    latest = latest_checkpoint(options.train_dir)
    return f"the newest checkpoint is of step {latest.step}" if latest else "no checkpoint yet"


def _start_evaluator(options: ExperimentOptions) -> ChildProcess:
    argv = [sys.executable, "-m", "estimators.evaluation.evaluator_process", options.train_dir]
    # No GPU: the first of two processes would take all memory of them.
    return ChildProcess(argv, env=child_environment(gpus=False))


def _finish_evaluation(
    evaluator: ChildProcess, options: ExperimentOptions, data: DataFiles, timeout_secs: float
) -> None:
    until = time.monotonic() + timeout_secs
    code = evaluator.wait(timeout_secs)
    if code is not None and code < 0:
        print(f"{_ended(code)}; another one evaluates what is left", flush=True)
        again = _start_evaluator(options)
        try:
            code = again.wait(until - time.monotonic())
        finally:
            again.kill()
    check_last_evaluated(options, data, _ended(code))
    check_none_failed(options.train_dir)
    prune(options.train_dir, keep=options.keep_checkpoint_max, keep_unevaluated=True)


def _ended(code: int | None) -> str:
    if code is None:
        return "the evaluator was ended after --final_evaluation_timeout_secs"
    if code < 0:
        return f"the evaluator's process was ended by {signal.Signals(-code).name}"
    return f"the evaluator's process ended with exit code {code}" + ("; its error stands above" if code else "")


def check_last_step_saved(options: ExperimentOptions, max_steps: int) -> None:
    """Makes sure that a run does not end well while its last step is not where it is looked for.

    Raises:
      InfrastructureError: train_dir, as it is seen here, has no checkpoint of it.
    """
    latest = latest_checkpoint(options.train_dir)
    if latest is None or latest.step < max_steps:
        raise InfrastructureError(
            "Training ended, but its last step is not in --train_dir",
            asked=f"--train_dir={options.train_dir}, up to step {max_steps}",
            found=newest_checkpoint(options),
            change="a mount that was lost, or that is another one on the chief's node? Then the same command, without "
            "--start_new_model, goes on from the newest checkpoint",
        )


def check_last_evaluated(options: ExperimentOptions, data: DataFiles, found: str) -> None:
    """Makes sure that a finished run does not end well while its last checkpoint is not evaluated.

    Args:
      options: of the run.
      data: the validation files of its plan; an evaluation of others, before it was continued, does not count.
      found: what happened to the evaluator, for the message.

    Raises:
      InfrastructureError: it is not.
    """
    latest = latest_checkpoint(options.train_dir)
    now = None
    with contextlib.suppress(OSError):  # of files that are gone by now nothing can be said
        now = made_with(options, data.paths)
    if latest is not None and latest.step not in evaluated_steps(options.train_dir, made_with=now):
        raise InfrastructureError(
            "Training is finished, but its last checkpoint is not evaluated",
            asked=f"--eval_data_pattern={options.eval_data_pattern}",
            found=f"step {latest.step} is not in eval/metrics.jsonl; {found}",
            change="run launch.eval --run_once on this train_dir; nothing has to be trained again",
        )
