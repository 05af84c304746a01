"""Show how a training run is doing, or how it ended:

    python -m launch.status --train_dir=/tmp/run

It reads the files in train_dir alone, so it works beside a run, after it, and for one that was killed.
"""

from __future__ import annotations

from cvd_cluster.status_report import StatusOptions, print_status
from launch.flags import parse_flags, run_command


def main() -> None:
    """Flags -> options -> the status."""
    (options,) = parse_flags("launch.status", __doc__, StatusOptions)
    print_status(options)


if __name__ == "__main__":
    run_command(main)
