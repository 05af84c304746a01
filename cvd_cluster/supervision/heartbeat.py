"""Tells all actors of a run that the command is there, also while it waits for something else."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable

from cvd_cluster.supervision.role_handle import RoleHandle


class Heartbeat:
    """A thread that calls `beat` of every actor.

    Args:
      handles: gives the actors that there are at the moment.
      every_secs: between two beats.
    """

    def __init__(self, handles: Callable[[], Iterable[RoleHandle]], *, every_secs: float) -> None:
        self._handles, self._every = handles, every_secs
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Stops; to be called before Ray is left."""
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._ended.wait(self._every):
            for handle in list(self._handles()):
                if not handle.is_lost:
                    handle.actor.beat.remote()
