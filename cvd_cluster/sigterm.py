"""What SIGTERM does to a process that Ray is in."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

from cvd_cluster.replaced_attributes import replaced_attributes


@contextlib.contextmanager
def sigterm_kept() -> Iterator[Callable[[], contextlib.AbstractContextManager[None]]]:
    """Keeps SIGTERM as it was while Ray is in this process; yields what `ray.init` must be called within.

    A handler of the process's own stays. Where there is none, SIGTERM raises SystemExit, so that a run that is
    terminated ends its Ray. Both hold while Ray starts, too: `ray.init` would put a handler of its own in the place of
    any other, which ends the process with exit code 15 and leaves what was started to itself.
    """
    if threading.current_thread() is not threading.main_thread():
        yield contextlib.nullcontext  # Python, and so Ray, sets handlers in the main thread only
        return
    before = signal.getsignal(signal.SIGTERM) or signal.SIG_DFL

    def put_back() -> None:
        signal.signal(signal.SIGTERM, _exit_terminated if before is signal.SIG_DFL else before)

    put_back()
    try:
        yield lambda: _ray_sets_no_handler(put_back)
    finally:
        signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def _ray_sets_no_handler(put_back: Callable[[], None]) -> Iterator[None]:
    import ray

    private: Any = ray._private
    start_process = private.services.start_ray_process

    def start_process_that_hears_sigterm(*args: Any, **options: Any) -> Any:
        came: list[int] = []
        # What a handler raises while Python forks is lost, in the hooks of os.register_at_fork; so it only takes note.
        handler = signal.signal(signal.SIGTERM, lambda number, frame: came.append(number))
        try:
            with _sigterm(signal.SIG_UNBLOCK):  # a child inherits what is blocked
                return start_process(*args, **options)
        finally:
            signal.signal(signal.SIGTERM, handler)
            if came:
                with _sigterm(signal.SIG_UNBLOCK):
                    signal.raise_signal(signal.SIGTERM)

    replacements = [
        (private.utils, "set_sigterm_handler", lambda handler: None),
        (private.services, "start_ray_process", start_process_that_hears_sigterm),
    ]
    # Ray's C++ part sets a handler too, which aborts. So SIGTERM waits, for this thread and all that are started by
    # `ray.init`, until the handler that was there is put back.
    with _sigterm(signal.SIG_BLOCK), replaced_attributes(replacements):
        try:
            yield
        finally:
            put_back()


@contextlib.contextmanager
def _sigterm(how: signal.Sigmasks) -> Iterator[None]:
    """Blocks or unblocks SIGTERM in this thread."""
    before = signal.pthread_sigmask(how, {signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _exit_terminated(signum: int, frame: object) -> None:
    raise SystemExit(128 + signum)
