"""Who has a train_dir, and whether that run lives: read from `run_lock.json`. See train_dir_lock.py."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from estimators import storage
from estimators.errors import UserError
from estimators.processes.process_identity import ProcessIdentity

LOCK_FILE = "run_lock.json"
# How long a run elsewhere may give no sign of life before another takes its place.
SILENT_SECS = 20.0
_found_silent: set[Holder] = set()  # no second wait for what has not changed since


@dataclass(frozen=True)
class Holder:
    """Who has a train_dir.

    Attributes:
      process: of the command.
      since: seconds since the epoch.
      token: of this lock alone.
      beat: seconds since the epoch of the last sign of life, by the clock of its storage.
    """

    process: ProcessIdentity
    since: float
    token: str
    beat: float

    def __str__(self) -> str:
        return f"{self.process}, since {datetime.fromtimestamp(self.since).astimezone():%Y-%m-%d %H:%M:%S %z}"

    def lives(self) -> bool:
        """Whether it goes on, as far as one look tells: of a process elsewhere the age of its last sign of life."""
        gone = self.process.is_gone
        return not gone if gone is not None else time.time() - self.beat < SILENT_SECS


def read_holder(train_dir: str) -> Holder | None:
    """Who has `train_dir`, alive or not; None if nobody has."""
    path = os.path.join(train_dir, LOCK_FILE)
    if not storage.exists(path):
        return None
    try:
        values = json.loads(storage.read_text(path))
        beat = values["beat"] if storage.is_remote(path) else storage.modified_ns(path) / 1e9
        return Holder(ProcessIdentity(**values["process"]), values["since"], values["token"], beat)
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, KeyError):
        # Half written, by a process that is at it or that was killed there.
        return Holder(ProcessIdentity("an unknown host", "", 0, 0), 0.0, "", storage.modified_ns(path) / 1e9)


def check_free(train_dir: str, announce: Callable[[str], None], silent_secs: float = SILENT_SECS) -> None:
    """Refuses a train_dir that a living process has; writes nothing.

    The lock would refuse it too, but a run may first wait for room that the other one has, and take its place when that
    is done.

    Args:
      train_dir: the folder.
      announce: called with a line if there is something to wait for.
      silent_secs: how long to wait for a sign of life of a run elsewhere.

    Raises:
      UserError: it has.
    """
    holder = read_holder(train_dir)
    if holder is not None and shows_life(train_dir, holder, announce, silent_secs):
        raise refused(train_dir, holder)


def shows_life(train_dir: str, other: Holder, announce: Callable[[str], None], silent_secs: float) -> bool:
    """Whether the run that has `train_dir` lives; of one elsewhere it waits for a sign, and says so.

    Args:
      train_dir: the folder.
      other: what its lock says.
      announce: called with a line if there is something to wait for.
      silent_secs: how long.
    """
    gone = other.process.is_gone
    # A clock that differs by minutes is possible, one that differs by an hour is not.
    if gone is not None or time.time() - other.beat > 3600 or other in _found_silent:
        return gone is False
    announce(f"--train_dir belongs to {other}; looking {silent_secs:g} s for a sign of life")
    until = time.monotonic() + silent_secs
    while time.monotonic() < until:
        time.sleep(min(0.5, silent_secs / 10))
        now = read_holder(train_dir)
        if now is None:
            return False
        if now != other:
            return True
    _found_silent.add(other)
    return False


def refused(train_dir: str, holder: Holder) -> UserError:
    """The error for a second run."""
    return UserError(
        "Another run is at work on --train_dir",
        asked=f"--train_dir={train_dir}",
        found=f"{holder}",
        change="--train_dir, or wait for that run, or end it",
    )
