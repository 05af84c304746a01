"""The lines a person sees while photos are predicted."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import termios
from pathlib import Path

from cvd_cluster.prediction.progress import Progress

ON_A_TERMINAL = """
import time
from cvd_cluster.prediction.progress import shown_progress
with shown_progress(1000, print) as progress:
    for _ in range(2):
        time.sleep(0.3)
        progress.advance(256, 250)
"""


class _Bar:
    n, total = 0, 0

    def update(self, count: int) -> None:
        self.n += count

    def refresh(self) -> None:
        pass


def _advance(progress: Progress, now: list[float]) -> None:
    for seconds in (5.0, 5.5, 5.9, 6.25, 6.5):
        now[0] = 100.0 + seconds
        progress.advance(256, 100)


def test_of_a_packed_file_the_rate_is_told_but_not_the_time_left():
    now, lines = [100.0], list[str]()
    progress = Progress(1000, lines.append, clock=lambda: now[0])
    for seconds in (5.0, 7.0):
        now[0] = 100.0 + seconds
        progress.advance(256, 0)
    assert lines[-1] == "num examples processed: 512 elapsed seconds: 7.00, 128 a second"


def test_the_first_and_the_last_batch_and_one_a_second_have_a_line_with_rate_and_time_left():
    now, lines = [100.0], list[str]()
    progress = Progress(1000, lines.append, clock=lambda: now[0])
    _advance(progress, now)
    for _ in range(2):
        progress.finish()
    assert lines == [
        "num examples processed: 256 elapsed seconds: 5.00",
        "num examples processed: 1024 elapsed seconds: 6.25, 614 a second, 2 seconds left",
        "num examples processed: 1280 elapsed seconds: 6.50",
    ]
    assert progress.seconds_to_first == 5.0 and progress.elapsed == 6.5


def test_where_there_is_a_bar_only_the_last_photos_have_a_line():
    now, lines, bar = [100.0], list[str](), _Bar()
    progress = Progress(1000, lines.append, bar=bar, clock=lambda: now[0])
    _advance(progress, now)
    assert bar.total == 2560  # half of the bytes are read
    progress.finish()
    assert lines == ["num examples processed: 1280 elapsed seconds: 6.50"]
    assert bar.n == bar.total == progress.done == progress.predicted == 1280


def test_a_piece_that_takes_long_is_told_of_while_it_is_predicted():
    now, lines, bar = [100.0], list[str](), _Bar()
    both = [Progress(1000, lines.append, bar=one, clock=lambda: now[0]) for one in (None, bar)]
    for seconds, count in ((2.0, 0), (6.0, 0), (7.0, 64), (9.0, 128), (12.5, 256)):
        now[0] = 100.0 + seconds
        for progress in both:
            progress.tell_under_way(count)
    assert lines == [
        "num examples processed: 64 elapsed seconds: 7.00",
        "num examples processed: 256 elapsed seconds: 12.50",
    ]
    assert bar.n == 256
    for progress in both:
        progress.advance(300, 500)
    assert bar.n == 300 and bar.total == 600 and both[0].done == both[1].done == 300


def test_what_an_earlier_run_predicted_counts_but_not_for_the_speed():
    progress = Progress(1000, list[str]().append)
    progress.keep(300, 500)
    progress.advance(100, 100)
    assert (progress.done, progress.predicted) == (400, 100)


def test_on_a_terminal_there_is_a_bar_with_rate_and_time_left():
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 100))
    subprocess.run([sys.executable, "-c", ON_A_TERMINAL], stderr=theirs, cwd=Path(__file__).parents[3], check=True)
    os.close(theirs)
    shown = os.read(ours, 1 << 16).decode()
    os.close(ours)
    assert "512/1024" in shown and " photos/s]" in shown and "50%" in shown, shown
