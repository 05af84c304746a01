"""Applies a function to many items in several processes; the results come in the items' order."""

from __future__ import annotations

import collections
import itertools
import multiprocessing
import signal
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from typing import TypeVar

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")

_CHUNK = 16  # items that go to a process at a time


def _apply_to_all(function: Callable[[ItemT], ResultT], items: list[ItemT]) -> list[ResultT]:
    return [function(item) for item in items]


def _ignore_interrupts() -> None:
    # Ctrl-C reaches the whole process group; the process that owns this pool answers it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _chunks(items: Iterable[ItemT], size: int) -> Iterator[list[ItemT]]:
    remaining = iter(items)
    while chunk := list(itertools.islice(remaining, size)):
        yield chunk


def map_in_order(
    function: Callable[[ItemT], ResultT], items: Iterable[ItemT], num_processes: int, *, chunk_size: int = _CHUNK
) -> Generator[ResultT, None, None]:
    """Yields `function(item)` for each item, in order; only a few chunks are under way at a time.

    Args:
      function: a module's function, so that it can be sent to other processes.
      items: what it is applied to.
      num_processes: 1 calls it in this process.
      chunk_size: items that go to a process at a time; 1 for items that take long.
    """
    if num_processes == 1:
        yield from map(function, items)
        return
    # Not forked: this process may have threads (a progress bar's, TensorFlow's), whose locks a fork would copy.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(num_processes, context, _ignore_interrupts) as executor:
        waiting: collections.deque[Future[list[ResultT]]] = collections.deque()
        try:
            for chunk in _chunks(items, chunk_size):
                waiting.append(executor.submit(_apply_to_all, function, chunk))
                if len(waiting) > 2 * num_processes:
                    yield from waiting.popleft().result()
            while waiting:
                yield from waiting.popleft().result()
        finally:
            executor.shutdown(wait=False, cancel_futures=True)
