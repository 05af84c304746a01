"""Exports one checkpoint in a process of its own: `python -m estimators.export.export_process TRAIN_DIR STEP`.

So that a command which has no other need of TensorFlow does not hold it. It ends by itself, whatever becomes of its
parent, and the export appears whole or not at all.
"""

from __future__ import annotations

import subprocess
import sys

from estimators.checkpoints.checkpoint_files import Checkpoint, list_checkpoints
from estimators.errors import HarnessError, UserError
from estimators.processes.child_process import child_environment
from estimators.train_dir.experiment_file import read_experiment

_MOST_SHOWN = 1500


def export_in_a_process(train_dir: str, checkpoint: Checkpoint) -> None:
    """Makes `train_dir/export/step_N` of a checkpoint.

    Raises:
      UserError: it cannot be exported.
    """
    environment = {**child_environment(gpus=False), "TF_CPP_MIN_LOG_LEVEL": "2"}
    command = [sys.executable, "-m", "estimators.export.export_process", train_dir, str(checkpoint.step)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise UserError(
            "A checkpoint cannot be exported",
            asked=f"step {checkpoint.step} of --train_dir={train_dir}",
            found=done.stderr.strip()[-_MOST_SHOWN:] or f"the process ended with {done.returncode}",
            change="run the command where the model's module is found, or name an export with --model_dir",
        )


def main() -> int:
    """Exports; the exit code is an error's own."""
    train_dir, step = sys.argv[1], int(sys.argv[2])
    from estimators.export.exporter import export_checkpoint

    try:
        kept = {checkpoint.step: checkpoint for checkpoint in list_checkpoints(train_dir)}
        if step not in kept:
            raise UserError("The checkpoint is gone", found=f"kept are {sorted(kept)}")
        export_checkpoint(read_experiment(train_dir), kept[step])
    except HarnessError as error:
        print(error, file=sys.stderr, flush=True)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
