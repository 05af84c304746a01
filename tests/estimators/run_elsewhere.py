"""A run on another machine, as its train_dir shows it to this one."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from estimators.train_dir.run_state import RunState, write_run_state
from estimators.train_dir.train_dir_holder import LOCK_FILE
from estimators.train_dir.train_dir_lock import locked

_ELSEWHERE = {"host": "elsewhere", "place": "elsewhere"}
_LATE_SECS = 600.0


@contextlib.contextmanager
def run_elsewhere_with_a_late_clock(folder: Path, *, lives: bool) -> Iterator[None]:
    """It trains, says its record, on a machine whose clock is ten minutes late, on a storage that goes by that clock.

    Args:
      folder: its train_dir.
      lives: whether it shows signs of life while the block runs.
    """
    write_run_state(str(folder), RunState.RUNNING, 40)
    with locked(str(folder)):
        lock = (folder / LOCK_FILE).read_text()
    (folder / LOCK_FILE).write_text(lock)
    for name in (LOCK_FILE, "run_state.json"):
        values = json.loads((folder / name).read_text())
        values["process"].update(_ELSEWHERE)
        (folder / name).write_text(json.dumps(values))
    begun = time.time() - _LATE_SECS
    os.utime(folder / LOCK_FILE, (begun, begun))
    over = threading.Event()

    def beat() -> None:
        for second in itertools.count():
            if over.wait(0.1):
                return
            with contextlib.suppress(FileNotFoundError):  # a test may take it away
                os.utime(folder / LOCK_FILE, (begun + second, begun + second))

    thread = threading.Thread(target=beat)
    if lives:
        thread.start()
    try:
        yield
    finally:
        over.set()
        if lives:
            thread.join()
