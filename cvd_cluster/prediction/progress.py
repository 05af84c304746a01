"""What a person sees while photos are predicted: a bar where there is a terminal, else a line a second."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

_SECONDS_BETWEEN_LINES = 1.0
# Of lines about a piece that takes long.
_SECONDS_OF_SILENCE = 5.0


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
        self._first = 0, 0  # photos and bytes that were done when the first predictions came
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
        is_first = self.seconds_to_first is None
        if is_first:
            self.seconds_to_first, self._first = self.elapsed, (self.done, self._bytes)
        if self._bar is not None:
            if self._bytes:
                self._bar.total = max(self.done, round(self.done * self._total_bytes / self._bytes))
            self._bar.n = self.done - count  # it may have shown some of them already
            self._bar.update(count)
        elif is_first or self._clock() - self._last_line >= _SECONDS_BETWEEN_LINES:
            self._tell(self._outlook())

    def tell_under_way(self, count: int) -> None:
        """Shows `count` more predictions, of pieces that are not finished; where there is no bar, now and then."""
        if self._bar is not None:
            self._bar.n = max(self._bar.n, self.done + count)
            self._bar.refresh()
        elif self.done + count > max(0, self._shown) and self._clock() - self._last_line >= _SECONDS_OF_SILENCE:
            self._tell(self._outlook(count), under_way=count)

    def finish(self) -> None:
        """Tells of the last photos, if that is not done."""
        if self._shown != self.done:
            self._shown = -1
            self._tell()
        if self._bar is not None:
            self._bar.n = self._bar.total = self.done
            self._bar.refresh()

    def _tell(self, outlook: str = "", *, under_way: int = 0) -> None:
        # What is under way is told a moment late; who reads it sees it grow.
        self._last_line, self._shown = self._clock(), max(self._shown, self.done + under_way)
        self._announce(f"num examples processed: {self._shown} elapsed seconds: {self.elapsed:.2f}{outlook}")

    def _outlook(self, under_way: int = 0) -> str:
        """Rate and time left, from what was done since the first predictions came."""
        seconds = self.elapsed - (self.seconds_to_first or 0.0)
        photos, size = self.done - self._first[0] + under_way, self._bytes - self._first[1]
        if self.done:
            size += under_way * self._bytes // self.done
        if self.seconds_to_first is None or seconds <= 0 or photos <= 0:
            return ""
        rate = f", {photos / seconds:,.0f} a second"
        if size <= 0:  # of a packed file it is known at its end
            return rate
        left = seconds * max(0, self._total_bytes - self._first[1] - size) / size
        return f"{rate}, {left:,.0f} seconds left"


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
