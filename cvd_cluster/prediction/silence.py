"""A wait that nobody can look into is told of."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

ItemT = TypeVar("ItemT")


def with_silence_told(
    items: Iterable[ItemT], announce: Callable[[str], None], *, what: str, seconds: float = 60.0
) -> Iterator[ItemT]:
    """Yields the items; where one is waited for so long, a line says so, again and again.

    Args:
      items: what is passed on.
      announce: takes the line, in a thread of its own.
      what: what did not happen, as "nothing was read".
      seconds: of silence.
    """
    iterator = iter(items)
    while True:
        with _told(announce, f"{what} for {seconds:g} seconds", seconds):
            try:
                item = next(iterator)
            except StopIteration:
                return
        yield item


@contextlib.contextmanager
def _told(announce: Callable[[str], None], line: str, seconds: float) -> Iterator[None]:
    over = threading.Event()

    def watch() -> None:
        while not over.wait(seconds):
            announce(line)

    threading.Thread(target=watch, daemon=True).start()
    try:
        yield
    finally:
        over.set()
