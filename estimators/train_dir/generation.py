"""Which generation of processes may write checkpoints into a train_dir, in `train_dir/generation.json`.

A run whose roles are all started anew is a new generation, and so is each new command on the same train_dir. A chief
that was given up may live on where nobody reaches it, on a node that lost its network. It asks here before each
checkpoint, and ends when a later generation has begun.

The same number tells a process that it sees the folder of the run, not an empty one in the place of a mount that is
missing on its node or was lost: there it would train from step 0 and save where nobody looks. So each process that
trains asks before it begins, too.
"""

from __future__ import annotations

import json
import os
import socket
import time

from estimators import storage
from estimators.errors import InfrastructureError

GENERATION_FILE = "generation.json"
# A node may see a folder as it was for a moment (NFS), or be ready before its mounts are.
_STALE_SECS = 5.0
_LOOK_AGAIN_SECS = 0.5


class FencedError(InfrastructureError):
    """A later generation has taken over; this process must write nothing more."""


def begin_generation(train_dir: str) -> int:
    """Makes all earlier generations stop writing; the number of the new one, 1 at first."""
    number = current_generation(train_dir) + 1
    text = json.dumps({"generation": number, "time": time.time()}) + "\n"
    storage.write_text(os.path.join(train_dir, GENERATION_FILE), text)
    return number


def current_generation(train_dir: str) -> int:
    """The number of the latest generation; 0 if none has begun, or if the file says nothing."""
    try:
        # Opened without a look before: an NFS client asks its server at an open, and may trust its memory at a look.
        return int(json.loads(storage.read_text(os.path.join(train_dir, GENERATION_FILE)))["generation"])
    except (FileNotFoundError, ValueError, TypeError, KeyError):
        return 0


def check_generation(train_dir: str, own: int) -> None:
    """To be called before training begins, and before anything is written that another generation writes too.

    Args:
      train_dir: the folder.
      own: the generation of this process, which has begun there.

    Raises:
      FencedError: a later one has begun; at once.
      InfrastructureError: see `check_is_known`.
    """
    current = check_is_known(train_dir, own)
    if current > own:
        raise FencedError(
            "A later generation of this run has taken over, so this process ends without writing",
            asked=f"a checkpoint in {train_dir} by generation {own}",
            found=f"generation {current} in {GENERATION_FILE}",
        )


def check_is_known(train_dir: str, own: int) -> int:
    """Makes sure that the folder here is that of a run; also for who outlives generations, as an evaluator does.

    Args:
      train_dir: the folder.
      own: a generation that has begun there.

    Returns:
      The number of the latest one.

    Raises:
      InfrastructureError: the folder here does not know of `own`, and does not learn of it within some seconds.
    """
    until = time.monotonic() + _STALE_SECS
    while (current := current_generation(train_dir)) < own and time.monotonic() < until:
        time.sleep(_LOOK_AGAIN_SECS)
    if current >= own:
        return current
    gone = not storage.exists(train_dir)
    seen = f"generation {current} in {GENERATION_FILE}" if current else f"no {GENERATION_FILE}"
    raise InfrastructureError(
        "--train_dir is gone, so the run ends here"
        if gone
        else "--train_dir is not the folder of this run any more, so the run ends here",
        asked=f"--train_dir={train_dir}, in which generation {own} has begun",
        found=f"{'no such folder' if gone else seen} on {socket.gethostname()}",
        change="bring the folder back (a mount that was lost, or is missing on that node?); then the same command, "
        "without --start_new_model, goes on from the newest checkpoint",
    )
