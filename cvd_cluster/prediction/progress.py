"""What a person sees while photos are predicted: a line a second, and a bar where there is a terminal."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

_SECONDS_BETWEEN_LINES = 1.0


class Progress:
    """Counts predicted photos and tells about them. How many there will be is known at the end only, how many bytes is.

    Args:
      total_bytes: of all files.
      announce: takes a line.
      bar: a tqdm bar; None shows none.
      clock: the time in seconds.
    """

    def __init__(
        self,
        total_bytes: int,
        announce: Callable[[str], None],
        *,
        bar: Any = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._total_bytes, self._announce, self._bar, self._clock = total_bytes, announce, bar, clock
        self._began = self._last_line = clock()
        self._bytes, self._kept, self._shown = 0, 0, -1
        self.done = 0
        self.seconds_to_first: float | None = None

    @property
    def elapsed(self) -> float:
        """Seconds since the start."""
        return self._clock() - self._began

    @property
    def predicted(self) -> int:
        """Photos predicted by this run."""
        return self.done - self._kept

    def keep(self, count: int, size: int) -> None:
        """Takes note of photos that an earlier run predicted, and of the bytes they were read from."""
        self.done, self._kept, self._bytes = count, count, size
        if self._bar is not None:
            self._bar.update(count)

    def advance(self, count: int, size: int) -> None:
        """Takes note of `count` more predictions, read from `size` bytes."""
        self.done += count
        self._bytes += size
        first = self.seconds_to_first is None
        if first:
            self.seconds_to_first = self.elapsed
        if first or self._clock() - self._last_line >= _SECONDS_BETWEEN_LINES:
            self._tell()
        if self._bar is not None:
            if self._bytes:
                self._bar.total = max(self.done, round(self.done * self._total_bytes / self._bytes))
            self._bar.update(count)

    def finish(self) -> None:
        """Tells of the last photos, if that is not done."""
        if self._shown != self.done:
            self._tell()
        if self._bar is not None:
            self._bar.total = self.done
            self._bar.refresh()

    def _tell(self) -> None:
        self._last_line, self._shown = self._clock(), self.done
        self._announce(f"num examples processed: {self.done} elapsed seconds: {self.elapsed:.2f}")


@contextlib.contextmanager
def shown_progress(total_bytes: int, announce: Callable[[str], None]) -> Iterator[Progress]:
    """A Progress whose time begins now, with a bar on the terminal if there is one."""
    if not sys.stderr.isatty():
        yield Progress(total_bytes, announce)
        return
    from tqdm import tqdm

    def announce_above_the_bar(line: str) -> None:
        with tqdm.external_write_mode():
            announce(line)

    with tqdm(unit=" photos") as bar:
        yield Progress(total_bytes, announce_above_the_bar, bar=bar)
