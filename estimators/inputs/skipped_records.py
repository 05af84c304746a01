"""Counts the records that `--on_bad_record=skip` leaves out, and names the first of them."""

from __future__ import annotations

import threading
from collections.abc import Callable

_NAMED = 10


class SkippedRecords:
    """A counter that several threads of the input pipeline add to.

    Args:
      announce: called with a line for each of the first few records, and by `summarize`.
    """

    def __init__(self, announce: Callable[[str], None]) -> None:
        self._announce = announce
        self._lock = threading.Lock()
        self.count = 0

    def add(self, what: object) -> None:
        """One record is left out; `what` says which and why."""
        with self._lock:
            self.count += 1
            if self.count <= _NAMED:
                self._announce(f"skipped a bad record: {' '.join(str(what).split())}")
            if self.count == _NAMED:
                self._announce("more bad records are counted, not named")

    def summarize(self) -> None:
        """Says how often a record was left out, if one was."""
        if self.count:
            self._announce(f"bad records skipped: {self.count} (a record counts in each pass that reads it)")
