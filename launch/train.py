"""Train a model on TFRecord files, in this process:

    python -m launch.train --train_data_pattern='/data/train/*' --train_dir=/tmp/run --model=CnnModel --start_new_model

on all GPUs of this machine:

    python -m launch.train … --strategy=mirrored

on several workers, in a Ray that is started here or that this machine or job belongs to:

    python -m launch.train … --strategy=multi_worker_mirrored --num_workers=2
    python -m launch.train … --strategy=parameter_server --num_workers=2 --num_parameter_servers=1

Without --start_new_model a run that was begun in train_dir is continued. With --dry_run all is checked and the plan
printed, and nothing is written; with --cluster_file=cluster.yaml for a cluster that is not up yet.
"""

from __future__ import annotations

from cvd_cluster.cluster_options import ClusterOptions
from cvd_cluster.ray_session import require_absolute_paths
from cvd_cluster.supervision_options import SupervisionOptions
from estimators.errors import UserError
from estimators.experiment_options import ExperimentOptions, StartOptions
from estimators.processes.lasting_console import keep_running_without_console
from estimators.tensorboard_server import tensorboard_of
from launch.flags import parse_flags, run_command

_PATHS = ("train_dir", "train_data_pattern", "eval_data_pattern", "warm_start_from")


def main() -> None:
    """Flags -> options -> a local or a distributed run."""
    options, start, cluster, supervision = parse_flags(
        "launch.train", __doc__, ExperimentOptions, StartOptions, ClusterOptions, SupervisionOptions
    )
    supervision.check_fits(cluster)
    require_absolute_paths({name: getattr(options, name) for name in _PATHS})
    if start.dry_run:
        from cvd_cluster.dry_run import dry_run

        dry_run(options, cluster, start_new_model=start.start_new_model)
    elif cluster.cluster_file is not None:
        raise UserError(
            "--cluster_file is for --dry_run",
            asked=f"--cluster_file={cluster.cluster_file}",
            change="--dry_run; or `ray up`, and this command as a job: `python -m launch.submit train …`",
        )
    else:
        keep_running_without_console()
        with tensorboard_of(options.train_dir, start.tensorboard_port):
            _train(options, start, cluster, supervision)


def _train(
    options: ExperimentOptions, start: StartOptions, cluster: ClusterOptions, supervision: SupervisionOptions
) -> None:
    if cluster.in_this_process:
        from estimators.local_training import train_locally

        train_locally(
            options,
            strategy=cluster.strategy,
            num_replicas=cluster.num_replicas,
            start_new_model=start.start_new_model,
            final_evaluation_timeout_secs=supervision.final_evaluation_timeout_secs,
        )
    else:
        from cvd_cluster.training_job import train_on_cluster

        train_on_cluster(options, cluster, supervision, start_new_model=start.start_new_model)


if __name__ == "__main__":
    run_command(main)
