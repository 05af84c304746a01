"""How far a long loop is: a bar where the terminal is one, else a plain line now and then."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Generator, Iterable
from typing import TypeVar

ItemT = TypeVar("ItemT")

_SECONDS_BETWEEN_LINES = 5.0


def with_progress(
    items: Iterable[ItemT],
    total: int,
    what: str,
    *,
    is_terminal: bool | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Generator[ItemT, None, None]:
    """Yields the items and says how many have passed.

    Args:
      items: what is passed on.
      total: how many there will be.
      what: what is counted, in the plural.
      is_terminal: whether to draw a bar; None looks at stderr.
      clock: seconds, for the plain lines.
    """
    if sys.stderr.isatty() if is_terminal is None else is_terminal:
        from tqdm import tqdm

        yield from tqdm(items, total=total, unit=f" {what}", leave=False)
        return
    last = clock()
    for count, item in enumerate(items, start=1):
        yield item
        if clock() - last >= _SECONDS_BETWEEN_LINES:
            last = clock()
            print(f"{count} of {total} {what}", flush=True)
