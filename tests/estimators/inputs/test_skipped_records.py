from __future__ import annotations

import threading

from estimators.inputs.skipped_records import SkippedRecords


def test_nothing_is_said_where_nothing_is_skipped() -> None:
    lines: list[str] = []
    SkippedRecords(lines.append).summarize()
    assert lines == []


def test_the_first_are_named_on_one_line_each_and_all_are_counted() -> None:
    lines: list[str] = []
    skipped = SkippedRecords(lines.append)
    for number in range(25):
        skipped.add(f"{number}.jpg:\n  does not\n  decode")
    skipped.summarize()
    named = [line for line in lines if line.startswith("skipped a bad record: ")]
    assert named == [f"skipped a bad record: {number}.jpg: does not decode" for number in range(10)]
    assert "not named" in lines[10] and lines[-1].startswith("bad records skipped: 25")
    assert len(lines) == 12 and skipped.count == 25


def test_several_threads_may_add() -> None:
    skipped = SkippedRecords(lambda line: None)

    def add_many() -> None:
        for _ in range(1000):
            skipped.add("x")

    threads = [threading.Thread(target=add_many) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert skipped.count == 4000
