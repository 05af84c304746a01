"""SIGTERM and Ctrl-C as a request: what is done is saved first."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator

from estimators.errors import InterruptedRunError, StoppedError

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class StopSignals:
    """Whether somebody asked for the end.

    Attributes:
      received: the name of the signal, or None.
    """

    def __init__(self) -> None:
        self.received: str | None = None
        self._obey: Callable[[], None] = lambda: None

    def when_received(self, obey: Callable[[], None]) -> None:
        """Has `obey` called when a signal comes, or at once if it came."""
        self._obey = obey
        if self.received is not None:
            obey()

    def error(self, found: str) -> StoppedError:
        """The error that ends the run.

        Args:
          found: what is saved.
        """
        cls = InterruptedRunError if self.received == "SIGINT" else StoppedError
        return cls(
            f"Stopped by {self.received}",
            found=found,
            change="the same command without --start_new_model goes on there",
        )

    def _take(self, number: int) -> None:
        self.received = signal.Signals(number).name
        self._obey()


@contextlib.contextmanager
def stop_signals() -> Iterator[StopSignals]:
    """Within the block the first SIGTERM or Ctrl-C is a request; a second one does what it did outside of it.

    One that was ignored stays ignored: so a shell starts what a script runs in the background, which a Ctrl-C does not
    mean.
    """
    signals = StopSignals()
    if threading.current_thread() is not threading.main_thread():
        yield signals  # Python sets handlers in the main thread only
        return
    handlers = {number: signal.getsignal(number) for number in _SIGNALS}
    before = {number: handler for number, handler in handlers.items() if handler is not signal.SIG_IGN}

    def put_back() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def handle(number: int, frame: object) -> None:
        put_back()
        signals._take(number)

    for number in before:
        signal.signal(number, handle)
    try:
        yield signals
    finally:
        put_back()
