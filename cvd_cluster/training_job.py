"""Front door of distributed training: options -> checked, placed, supervised to its end."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable

import psutil

from cvd_cluster.checked_run import CheckedRun, checked_run
from cvd_cluster.cluster_options import ClusterOptions
from cvd_cluster.ray_session import in_ray_job
from cvd_cluster.supervision_options import SupervisionOptions
from estimators.checkpoints.checkpoint_files import awaits_evaluation, prune
from estimators.errors import InfrastructureError, StoppedError
from estimators.experiment_options import ExperimentOptions
from estimators.processes.stop_signals import stop_signals
from estimators.storage_trouble import storage_trouble_told
from estimators.train_dir import experiment_file, train_dir_lock
from estimators.train_dir.generation import FencedError
from estimators.train_dir.run_state import RunState, write_run_state


def train_on_cluster(
    options: ExperimentOptions,
    cluster: ClusterOptions,
    supervision: SupervisionOptions,
    *,
    start_new_model: bool,
    announce: Callable[[str], None] = print,
) -> None:
    """Trains with one process a task on Ray, evaluates alongside if asked, and leaves nothing running.

    Args:
      options: of the run.
      cluster: the tasks and what each gets; its strategy is one of those on Ray.
      supervision: what happens when a process or a node dies.
      start_new_model: empty train_dir first, once.
      announce: called with each line for people.

    Raises:
      HarnessError: with a message for people.
    """
    with (
        checked_run(options, cluster, start_new_model=start_new_model, announce=announce) as run,
        train_dir_lock.locked(options.train_dir, announce=announce),
        storage_trouble_told(options.train_dir),
    ):
        experiment_file.begin(options, start_new_model=start_new_model, announce=announce)
        _run(options, run, supervision, announce)


def _run(
    options: ExperimentOptions,
    run: CheckedRun,
    supervision: SupervisionOptions,
    announce: Callable[[str], None],
) -> None:
    # Imported late: these import Ray, which ray_session does only once it has set what Ray reads at its import.
    from ray.exceptions import RayError

    from cvd_cluster.supervision.role_group import RoleGroup
    from cvd_cluster.supervision.room import Room
    from cvd_cluster.supervision.supervisor import Supervisor

    if in_ray_job() and not os.environ.get("RAY_JOB_STOP_WAIT_TIME_S"):
        announce(
            "`ray job stop` ends this command 3 s after it asked; the roles then save a checkpoint by themselves. With "
            '--runtime-env-json=\'{"env_vars": {"RAY_JOB_STOP_WAIT_TIME_S": "120"}}\' at `ray job submit` it waits'
        )
    plan, tasks = run.plan, run.tasks
    write_run_state(options.train_dir, RunState.RUNNING, plan.max_steps)
    try:
        announce(f"starting {', '.join(task.name for task in tasks)}; their logs are in {options.train_dir}/logs")
        room = Room(run.group, tasks)
        roles = RoleGroup(options, supervision.orphan_timeout_secs)
        with stop_signals() as signals:
            try:
                Supervisor(
                    roles,
                    room,
                    options,
                    plan,
                    supervision,
                    placement_timeout_secs=run.placement_timeout_secs,
                    look_at_nodes=run.look_at_nodes,
                    started=psutil.Process().create_time(),
                    signals=signals,
                    announce=announce,
                ).run()
            except RayError as error:
                raise _ray_failed(error) from error
            finally:
                roles.stop()
                room.close()
        prune(
            options.train_dir,
            keep=options.keep_checkpoint_max,
            keep_unevaluated=awaits_evaluation(options.train_dir, evaluator_planned=plan.eval_data is not None),
        )
    except FencedError:  # another run has the folder, and writes its own state
        raise
    except BaseException as error:
        # The last two are a second signal.
        stopped = isinstance(error, StoppedError | KeyboardInterrupt | SystemExit)
        with contextlib.suppress(Exception):  # a disk that is full or gone must not hide the error that says so
            write_run_state(options.train_dir, RunState.STOPPED if stopped else RunState.FAILED, plan.max_steps)
        raise
    write_run_state(options.train_dir, RunState.SUCCEEDED, plan.max_steps)


def _ray_failed(error: Exception) -> InfrastructureError:
    return InfrastructureError(
        "Ray failed, so the run ends here",
        found=f"{type(error).__name__}: {' '.join(str(error).split())[:500]}",
        change="see the logs of Ray on its head node; the same command without --start_new_model continues",
    )
