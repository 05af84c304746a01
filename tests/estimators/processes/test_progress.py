from __future__ import annotations

import itertools

from estimators.processes.progress import with_progress


def test_without_a_terminal_a_line_comes_now_and_then(capsys):
    seconds = itertools.count(step=2)
    items = with_progress("abcdefgh", 8, "letters", is_terminal=False, clock=lambda: next(seconds))
    assert list(items) == list("abcdefgh")
    lines = capsys.readouterr().out.splitlines()
    assert 1 < len(lines) < 8 and lines[0].endswith("of 8 letters")


def test_a_terminal_gets_a_bar(capsys):
    assert list(with_progress("abc", 3, "letters", is_terminal=True)) == ["a", "b", "c"]
    captured = capsys.readouterr()
    assert "3/3" in captured.err or "0/3" in captured.err
    assert captured.out == ""
