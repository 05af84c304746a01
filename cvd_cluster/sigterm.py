"""What SIGTERM does to a process that Ray is in."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def sigterm_kept() -> Iterator[Callable[[], None]]:
    """Yields a function that undoes what `ray.init` does to SIGTERM; at the end all is as it was before.

    A handler of the process's own is put back. Where there is none, SIGTERM raises SystemExit, so that a run that is
    terminated ends its Ray.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: None  # Python, and so Ray, sets handlers in the main thread only
        return
    before = signal.getsignal(signal.SIGTERM) or signal.SIG_DFL

    def put_back() -> None:
        signal.signal(signal.SIGTERM, _exit_terminated if before is signal.SIG_DFL else before)

    try:
        yield put_back
    finally:
        signal.signal(signal.SIGTERM, before)


def _exit_terminated(signum: int, frame: object) -> None:
    raise SystemExit(128 + signum)
