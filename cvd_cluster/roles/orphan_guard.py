"""Ends what nobody asks for any more.

A node that lost its network, or whose Ray was killed, keeps its processes: they would train on and write checkpoints
beside those that took their place. So silence of the command for long enough is an order to end.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

_LOOK_SECS = 0.5


class OrphanGuard:
    """A thread that calls a function once when nothing was heard for too long.

    Args:
      patience_secs: how long is too long.
      first_patience_secs: the same until something was heard for the first time.
      act: called once, in the guard's own thread.
    """

    def __init__(self, patience_secs: float, *, first_patience_secs: float, act: Callable[[], None]) -> None:
        self._patience, self._act = patience_secs, act
        self._deadline = time.monotonic() + first_patience_secs
        self._ended = threading.Event()
        threading.Thread(target=self._watch, name="orphan-guard", daemon=True).start()

    def heard(self) -> None:
        """The command is there."""
        self._deadline = time.monotonic() + self._patience

    def end(self) -> None:
        """Nothing is left to guard."""
        self._ended.set()

    def _watch(self) -> None:
        while not self._ended.wait(_LOOK_SECS):
            if time.monotonic() > self._deadline:
                self._act()
                return
