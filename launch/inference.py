"""Predict photos in TFRecord files and write one submission:

    python -m launch.inference --train_dir=/tmp/model --input_data_pattern='/data/test/*' --output_file=submission.csv

with the newest checkpoint in train_dir. The files are read and the photos predicted in parallel, in a Ray that is
started here or that this machine or job belongs to. A run that was cut off goes on where it was when the same command
is given again. All about it: docs/inference.md.
"""

from __future__ import annotations

from cvd_cluster.prediction.prediction_options import PredictionOptions
from estimators.processes.lasting_console import keep_running_without_console
from launch.flags import parse_flags, run_command


def main() -> None:
    """Flags -> options -> one prediction run."""
    (options,) = parse_flags("launch.inference", __doc__, PredictionOptions)
    from cvd_cluster.prediction.prediction_job import run_prediction

    keep_running_without_console()
    run_prediction(options)


if __name__ == "__main__":
    run_command(main)
