"""Front door of distributed training: options -> checked, placed, supervised to its end."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import psutil

from cvd_cluster.checked_run import checked_run
from cvd_cluster.cluster_options import ClusterOptions
from cvd_cluster.topology import Task
from estimators import train_dir, train_dir_lock
from estimators.checkpoints import awaits_evaluation, prune
from estimators.experiment_options import ExperimentOptions
from estimators.run_state import RunState, write_run_state
from estimators.storage_trouble import storage_trouble_told
from estimators.training_plan import TrainingPlan


def _print_line(text: str) -> None:
    print(text, flush=True)


def train_on_cluster(
    options: ExperimentOptions,
    cluster: ClusterOptions,
    *,
    start_new_model: bool,
    announce: Callable[[str], None] = _print_line,
) -> None:
    """Trains with one process a task on Ray, evaluates alongside if asked, and leaves nothing running.

    Args:
      options: of the run.
      cluster: the tasks and what each gets; its strategy is one of those on Ray.
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
        train_dir.begin(options, start_new_model=start_new_model, announce=announce)
        _run(options, run.plan, run.tasks, run.group, announce)


def _run(
    options: ExperimentOptions,
    plan: TrainingPlan,
    tasks: Sequence[Task],
    placement_group: object,
    announce: Callable[[str], None],
) -> None:
    # Imported late: these import Ray, which ray_session does only once it has set what Ray reads at its import.
    from cvd_cluster.supervision.role_group import RoleGroup
    from cvd_cluster.supervision.supervisor import Supervisor

    write_run_state(options.train_dir, RunState.RUNNING, plan.max_steps)
    end = RunState.FAILED
    try:
        roles = RoleGroup(tasks, options, plan, placement_group)
        announce(f"started {', '.join(task.name for task in tasks)}; their logs are in {options.train_dir}/logs")
        try:
            Supervisor(roles, options, plan, started=psutil.Process().create_time(), announce=announce).run()
        finally:
            roles.stop()
        prune(
            options.train_dir,
            keep=options.keep_checkpoint_max,
            keep_unevaluated=awaits_evaluation(options.train_dir, evaluator_planned=plan.eval_data is not None),
        )
        end = RunState.SUCCEEDED
    finally:
        write_run_state(options.train_dir, end, plan.max_steps)
