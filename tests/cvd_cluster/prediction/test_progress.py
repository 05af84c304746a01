"""The lines a person sees while photos are predicted."""

from __future__ import annotations

from cvd_cluster.prediction.progress import Progress


class _Bar:
    shown = 0

    def update(self, count: int) -> None:
        self.shown += count


def test_the_first_and_the_last_batch_and_one_a_second_have_a_line():
    now, lines, bar = [100.0], list[str](), _Bar()
    progress = Progress(1280, lines.append, bar=bar, clock=lambda: now[0])
    for seconds in (5.0, 5.5, 5.9, 6.25, 6.5):
        now[0] = 100.0 + seconds
        progress.advance(256)
    assert lines == [
        "num examples processed: 256 elapsed seconds: 5.00",
        "num examples processed: 1024 elapsed seconds: 6.25",
        "num examples processed: 1280 elapsed seconds: 6.50",
    ]
    assert bar.shown == progress.done == 1280
    assert progress.seconds_to_first == 5.0 and progress.elapsed == 6.5
