"""Evaluate the checkpoints of a training run, as they come:

    python -m launch.eval --train_dir=/tmp/model --eval_data_pattern='/data/validation/*'

The model and its options come from train_dir/experiment.json. It ends when training has ended and its last checkpoint
is evaluated, or after one look with --run_once. Results: train_dir/eval/metrics.jsonl, and scalars for TensorBoard.

A large validation set is evaluated faster by several processes, in a Ray that is started here or that this machine or
job belongs to; the results are the same:

    python -m launch.eval … --eval_workers=4
"""

from __future__ import annotations

from cvd_cluster.ray_session import require_absolute_paths
from estimators.evaluation.evaluation_options import EvaluationOptions
from estimators.evaluation.evaluation_run import evaluate_train_dir
from estimators.processes.lasting_console import keep_running_without_console
from launch.flags import parse_flags, run_command


def main() -> None:
    """Flags -> options -> evaluation in this process or by several."""
    (options,) = parse_flags("launch.eval", __doc__, EvaluationOptions)
    require_absolute_paths({name: getattr(options, name) for name in ("train_dir", "eval_data_pattern")})
    keep_running_without_console()
    if options.eval_workers == 1:
        evaluate_train_dir(options, line=print)
    else:
        from cvd_cluster.evaluation.evaluation_job import evaluate_on_cluster

        evaluate_on_cluster(options, line=print)


if __name__ == "__main__":
    run_command(main)
