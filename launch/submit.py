"""Run a command as a job on a cluster that is up, and follow it:

    python -m launch.submit train --address=http://127.0.0.1:8265 -- \\
      --strategy=multi_worker_mirrored --num_workers=2 --train_dir=gs://bucket/run …

What stands behind `--` are the command's own flags. This folder, with your model in it, is copied to the cluster; the
paths in the flags are the nodes'. It ends with the exit code of the job's command, or with 143 for a job that was
stopped. Ctrl-C lets go of the job, which goes on. To follow it again:

    python -m launch.submit attach --address=http://127.0.0.1:8265 --job=train-1a2b3c4d
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from cvd_cluster.job_options import AttachOptions, SubmitOptions
from cvd_cluster.job_submission import attach, submit
from estimators.errors import UserError
from estimators.processes.lasting_console import keep_running_without_console
from launch.flags import parse_flags, run_command

_COMMANDS = ("train", "eval", "inference", "prepare_data", "convert_prediction_from_json_to_csv")


def main(argv: Sequence[str] | None = None) -> int:
    """Flags -> options -> a job that is followed."""
    keep_running_without_console()  # its exit code is the job's, whoever reads the log
    given = list(sys.argv[1:] if argv is None else argv)
    ours, theirs = (given[: given.index("--")], given[given.index("--") + 1 :]) if "--" in given else (given, [])
    command = ours.pop(0) if ours and not ours[0].startswith("-") else ""
    if command == "attach":
        (attached,) = parse_flags("launch.submit", __doc__, AttachOptions, argv=ours)
        return attach(attached)
    (options,) = parse_flags("launch.submit", __doc__, SubmitOptions, argv=ours)
    if command not in _COMMANDS:
        raise UserError(
            "No such command for a job",
            asked=f"python -m launch.submit {command}".rstrip(),
            change=f"python -m launch.submit COMMAND --address=… -- flags; COMMAND is one of {', '.join(_COMMANDS)}, "
            "attach",
        )
    if not theirs:
        raise UserError(
            "The job's own flags are missing",
            asked=f"python -m launch.submit {command} {' '.join(ours)}",
            change=f"write them behind --: launch.submit {command} --address={options.address} -- --train_dir=…",
        )
    return submit(command, theirs, options)


if __name__ == "__main__":
    run_command(main)
