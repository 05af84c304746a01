"""A reader that stands still is told of while it does."""

from __future__ import annotations

import threading

from cvd_cluster.prediction.silence import with_silence_told


def test_a_wait_is_told_of_while_it_lasts_and_nothing_else():
    lines: list[str] = []
    told = threading.Event()

    def announce(line: str) -> None:
        lines.append(line)
        if len(lines) == 2:
            told.set()

    def items():
        yield 1
        assert told.wait(30), "two lines while it stands still"
        yield 2

    assert list(with_silence_told(items(), announce, what="nothing was read", seconds=0.5)) == [1, 2]
    assert lines[:2] == ["nothing was read for 0.5 seconds"] * 2
