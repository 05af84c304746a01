"""Copies the log of a role, which is a local file, to where a remote train_dir keeps it.

An object cannot be appended to: each copy is the whole log, with what earlier processes of the role had written.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from pathlib import Path
from typing import IO

from estimators import storage

_EVERY_SECS = 10.0
# A log that takes long to copy is copied the more rarely.
_LARGEST_SHARE = 0.05
_END_SECS = 8.0


def mirror_of(log: IO[bytes], train_dir: str) -> LogMirror | None:
    """A copier of this log into `train_dir/logs/`; None where train_dir is local, and the log is there already."""
    if not storage.is_remote(train_dir):
        return None
    return LogMirror(log.name, os.path.join(train_dir, "logs", os.path.basename(log.name)))


class LogMirror:
    """Copies a log every few seconds while it grows, and a last time at the end.

    Args:
      local: the log, which is only ever appended to.
      remote: where its copy belongs; one that is there already is continued.
      every_secs: between two copies.
    """

    def __init__(self, local: str, remote: str, *, every_secs: float = _EVERY_SECS) -> None:
        self._local, self._remote, self._every_secs = local, remote, every_secs
        self._earlier: bytes | None = None
        self._copied = -1  # so that a log in which nothing stands is there too
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="log_mirror", daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Copies what is new, and waits a moment for that."""
        self._ended.set()
        self._thread.join(_END_SECS)

    def _run(self) -> None:
        pause = self._every_secs
        while not self._ended.wait(pause):
            with contextlib.suppress(Exception):  # it is tried again; a log that cannot be copied ends no role
                pause = max(self._every_secs, self._copy() / _LARGEST_SHARE)
        with contextlib.suppress(Exception):
            self._copy()

    def _copy(self) -> float:
        """Copies the log if it grew; the seconds that took."""
        if self._earlier is None:
            self._earlier = _read(self._remote) if storage.exists(self._remote) else b""
            storage.make_dirs(os.path.dirname(self._remote))
        begun = time.monotonic()
        text = Path(self._local).read_bytes()
        if len(text) > self._copied:
            with storage.written_whole(self._remote) as file:
                file.write(self._earlier + text)
            self._copied = len(text)
        return time.monotonic() - begun


def _read(path: str) -> bytes:
    with storage.open_binary(path) as file:
        return file.read()
