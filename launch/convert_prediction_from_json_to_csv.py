"""Turn the JSON lines of a batch prediction (launch.inference --output_path=DIR) into one submission CSV:

    python -m launch.convert_prediction_from_json_to_csv \\
      --json_prediction_files_pattern='DIR/prediction.results-*' --csv_output_file=submission.csv

It is the file that launch.inference --output_file=submission.csv writes, with the same checks.
"""

from __future__ import annotations

from cvd_cluster.ray_session import require_absolute_paths
from estimators.submission.json_to_csv_options import JsonToCsvOptions
from launch.flags import parse_flags, run_command

_PATHS = ("json_prediction_files_pattern", "csv_output_file", "sample_submission")


def main() -> None:
    """Flags -> options -> one conversion."""
    (options,) = parse_flags("launch.convert_prediction_from_json_to_csv", __doc__, JsonToCsvOptions)
    require_absolute_paths({name: getattr(options, name) for name in _PATHS})
    from estimators.submission.json_to_csv import json_to_csv

    json_to_csv(options)


if __name__ == "__main__":
    run_command(main)
