"""The process that evaluates beside a local run: `python -m estimators.evaluation.evaluator_process TRAIN_DIR`."""

from __future__ import annotations

import sys

from estimators.errors import HarnessError
from estimators.evaluation.evaluation_run import run_evaluation
from estimators.processes.child_process import die_with_parent
from estimators.processes.lasting_console import keep_running_without_console
from estimators.train_dir.experiment_file import read_experiment


def main() -> int:
    """Evaluates until training has ended; the exit code is an error's own."""
    die_with_parent()
    keep_running_without_console()
    options = read_experiment(sys.argv[1])
    try:
        run_evaluation(options, line=lambda text: print(text, flush=True))
    except HarnessError as error:
        print(f"error in the evaluator: {error}", file=sys.stderr, flush=True)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
