"""Which generation of processes may write checkpoints into a train_dir, in `train_dir/generation.json`.

A run whose roles are all started anew is a new generation, and so is each new command on the same train_dir. A chief
that was given up may live on where nobody reaches it, on a node that lost its network. It asks here before each
checkpoint, and ends when a later generation has begun.
"""

from __future__ import annotations

import json
import os
import time

from estimators import storage
from estimators.errors import InfrastructureError

GENERATION_FILE = "generation.json"


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
    path = os.path.join(train_dir, GENERATION_FILE)
    if not storage.exists(path):
        return 0
    try:
        return int(json.loads(storage.read_text(path))["generation"])
    except (ValueError, TypeError, KeyError):
        return 0


def check_generation(train_dir: str, own: int) -> None:
    """To be called before anything is written that another generation writes too.

    Args:
      train_dir: the folder.
      own: the generation of this process.

    Raises:
      FencedError: a later one has begun.
    """
    current = current_generation(train_dir)
    if current > own:
        raise FencedError(
            "A later generation of this run has taken over, so this process ends without writing",
            asked=f"a checkpoint in {train_dir} by generation {own}",
            found=f"generation {current} in {GENERATION_FILE}",
        )
