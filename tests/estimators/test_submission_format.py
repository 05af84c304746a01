"""What a row of the submission looks like."""

from __future__ import annotations

import csv
import io

import pytest

from estimators.submission_format import HEADER, submission_row


def test_a_row_is_the_id_and_the_class_without_quotes():
    assert HEADER == "Id,Category\n"
    assert submission_row("17.jpg", 1) == "17.jpg,1\n"


@pytest.mark.parametrize("plain", ["cats/17.jpg", "a b.jpg", " leading", "it's", "ü.jpg", "a;b", "=1+1", "tab\there"])
def test_what_rfc_4180_lets_stand_is_not_quoted(plain):
    assert submission_row(plain, 0) == f"{plain},0\n"


@pytest.mark.parametrize(
    ("image_id", "field"),
    [("a,b", '"a,b"'), ('say "cat"', '"say ""cat"""'), ("a\nb", '"a\nb"'), ("a\rb", '"a\rb"'), ('"', '""""')],
)
def test_what_would_break_a_row_is_quoted(image_id, field):
    assert submission_row(image_id, 1) == f"{field},1\n"


def test_a_csv_reader_gets_back_every_id():
    ids = ["1.jpg", "a,b", 'q"q', "two\nlines", "cr\rhere", "", '",\n"']
    text = HEADER + "".join(submission_row(image_id, index) for index, image_id in enumerate(ids))
    rows = list(csv.reader(io.StringIO(text, newline="")))
    assert rows[1:] == [[image_id, str(index)] for index, image_id in enumerate(ids)]
