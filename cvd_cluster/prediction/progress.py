"""What a person sees while photos are predicted: a line a second, and a bar where there is a terminal."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

_SECONDS_BETWEEN_LINES = 1.0


class Progress:
    """Counts predicted photos and tells about them.

    Args:
      total: how many there will be.
      announce: takes a line.
      bar: a tqdm bar; None shows none.
      clock: the time in seconds.
    """

    def __init__(
        self,
        total: int,
        announce: Callable[[str], None],
        *,
        bar: Any = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._total, self._announce, self._bar, self._clock = total, announce, bar, clock
        self._began = self._last_line = clock()
        self.done = 0
        self.seconds_to_first: float | None = None

    @property
    def elapsed(self) -> float:
        """Seconds since the start."""
        return self._clock() - self._began

    def advance(self, count: int) -> None:
        """Takes note of `count` more predictions."""
        self.done += count
        first = self.seconds_to_first is None
        if first:
            self.seconds_to_first = self.elapsed
        if first or self.done == self._total or self._clock() - self._last_line >= _SECONDS_BETWEEN_LINES:
            self._last_line = self._clock()
            self._announce(f"num examples processed: {self.done} elapsed seconds: {self.elapsed:.2f}")
        if self._bar is not None:
            self._bar.update(count)


@contextlib.contextmanager
def shown_progress(total: int, announce: Callable[[str], None]) -> Iterator[Progress]:
    """A Progress whose time begins now, with a bar on the terminal if there is one."""
    if not sys.stderr.isatty():
        yield Progress(total, announce)
        return
    from tqdm import tqdm

    def announce_above_the_bar(line: str) -> None:
        with tqdm.external_write_mode():
            announce(line)

    with tqdm(total=total, unit=" photos") as bar:
        yield Progress(total, announce_above_the_bar, bar=bar)
