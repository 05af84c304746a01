"""What a role's process hears from its actor on stdin, and how its life is bound to the actor's."""

from __future__ import annotations

import json
import os
import queue
import sys
import threading
from collections.abc import Callable

from estimators.processes.child_process import die_with_parent, outlive_parent

# A command that is told to stop leaves no longer to its roles; see supervision/supervisor.py.
_SAVING_SECS = 20.0


class Orders:
    """Reads the actor's lines in a thread of its own; see role_assignment.py. Make it first thing in the process.

    That thread, not the main one, carries PR_SET_PDEATHSIG, which the kernel keeps for each thread: so the bond can be
    loosened while the main thread is at work in TensorFlow. A command that is terminated by `ray job stop` lives for 3
    more seconds, and its actors hardly longer; the process then goes on alone until its checkpoint is written.
    """

    def __init__(self) -> None:
        self._lines: queue.Queue[str] = queue.Queue()
        self._bound = threading.Event()
        self._ready = threading.Event()
        self._stop: Callable[[], None] = lambda: None
        threading.Thread(target=self._listen, name="orders", daemon=True).start()
        self._bound.wait()

    def next_line(self) -> str:
        """The first line at the first call, the second one at the second."""
        return self._lines.get()

    def when_told_to_stop(self, stop: Callable[[], None]) -> None:
        """Says what obeys an order to stop, which may have come already."""
        self._stop = stop
        self._ready.set()

    def _listen(self) -> None:
        die_with_parent()
        self._bound.set()
        stopping = False
        for line in sys.stdin:
            if '"stop"' in line and json.loads(line) == {"stop": True}:
                stopping = True
                outlive_parent()
                timer = threading.Timer(_SAVING_SECS, os._exit, (1,))
                timer.daemon = True
                timer.start()
                self._ready.wait()
                self._stop()
            else:
                self._lines.put(line)
        if not stopping:
            os._exit(1)  # the actor is gone
