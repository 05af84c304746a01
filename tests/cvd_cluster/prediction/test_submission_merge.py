"""Parts of any size become one submission in the order of the files, complete and without duplicates."""

from __future__ import annotations

import csv
import io
import tempfile
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cvd_cluster.prediction.bad_records import Quarantine
from cvd_cluster.prediction.prediction_options import DEFAULT, FAIL, QUARANTINE
from cvd_cluster.prediction.submission_merge import Merged, SubmissionMerge
from estimators.errors import DataError, InfrastructureError, UserError
from estimators.records.tfrecord_framing import framed
from estimators.submission.prediction_columns import CsvForm
from tests.cvd_cluster.prediction.made_parts import all_parts
from tests.cvd_cluster.prediction.mutations import changes_of, mutated
from tests.estimators.drawn_records import cut, flip, offset_of, write_file

FIRST = [b"%d.jpg" % number for number in (5, 3, 4)]
SECOND = [b"%d.jpg" % number for number in (1, 2, 6, 7, 8)]
WHOLE = ["5.jpg,1", "3.jpg,1", "4.jpg,0", "1.jpg,1", "2.jpg,0", "6.jpg,0", "7.jpg,1", "8.jpg,0"]
PIECES = [17, 40, 100, 1 << 24]


class Case:
    """Two files, an empty one between them, and what a merge makes of them."""

    def __init__(self, folder: Path, first: list[bytes] = FIRST, second: list[bytes] = SECOND) -> None:
        self.folder = folder
        self.a = write_file(folder / "a", first)
        self.empty = write_file(folder / "b-empty", [])
        self.c = write_file(folder / "c", second)
        self.csv, self.listed = io.BytesIO(), io.BytesIO()

    def merge(self, policy: str = FAIL, *, category: int = 1, size: int = 40, form: str = "category") -> Merged:
        files, parts = all_parts(self.folder / f"parts-{size}", [self.a, self.empty, self.c], size)
        lines = CsvForm(form)

        def write(file: int, table: Any) -> None:
            assert file in (0, 2)
            self.csv.write(lines.lines(table))

        return SubmissionMerge(files, parts, policy, category).write(write, Quarantine(lambda: self.listed))

    @property
    def rows(self) -> list[str]:
        return self.csv.getvalue().decode().splitlines()[1:]

    @property
    def quarantine(self) -> list[dict[str, str]]:
        return list(csv.DictReader(io.StringIO(self.listed.getvalue().decode())))


@pytest.mark.parametrize("size", PIECES)
def test_rows_are_in_the_order_of_files_and_records_whatever_the_pieces(tmp_path, size):
    case = Case(tmp_path)
    assert case.merge(size=size) == Merged(rows=8, quarantined=0, defaulted=0)
    assert case.rows == WHOLE and not case.quarantine


@pytest.mark.parametrize("size", PIECES)
def test_bad_records_are_left_out_and_listed_with_their_row(tmp_path, size):
    bad = [b"undecodable-1", b"", b"\xff\xfe"]
    case = Case(tmp_path, second=[SECOND[0], *bad, *SECOND[1:]])
    assert case.merge(QUARANTINE, size=size) == Merged(rows=8, quarantined=3, defaulted=0)
    assert case.rows == WHOLE
    expected = [
        ("1", "undecodable-1", "Invalid JPEG data"),
        ("2", "", "it has no id"),
        ("3", "", "its id is not UTF-8: b'\\xff\\xfe'"),
    ]
    assert [(row["row"], row["id"], row["reason"]) for row in case.quarantine] == expected
    assert {row["file"] for row in case.quarantine} == {case.c}
    assert [int(row["offset"]) for row in case.quarantine] == [offset_of([SECOND[0], *bad[:i]]) for i in range(3)]


@pytest.mark.parametrize("size", PIECES)
def test_damage_over_several_pieces_is_one_row_and_moves_the_numbers_behind_it(tmp_path, size):
    case = Case(tmp_path, second=[b"1.jpg", b"x" * 500, b"2.jpg", b"undecodable", b"9.jpg"])
    flip(case.c, offset_of([b"1.jpg"]) + 9)
    assert case.merge(QUARANTINE, size=size) == Merged(rows=6, quarantined=2, defaulted=0)
    begin = offset_of([b"1.jpg"])
    gap, bad = case.quarantine
    assert (gap["row"], gap["offset"], gap["bytes"], gap["id"]) == ("1", str(begin), "516", "")
    assert "checksum of the record's length" in gap["reason"]
    assert (bad["row"], bad["id"]) == ("3", "undecodable")


@pytest.mark.parametrize("size", PIECES)
def test_a_file_that_is_cut_short_has_one_row_for_what_is_missing(tmp_path, size):
    case = Case(tmp_path)
    cut(case.a, offset_of(FIRST) - 3)
    assert case.merge(QUARANTINE, size=size) == Merged(rows=7, quarantined=1, defaulted=0)
    assert case.rows == WHOLE[:2] + WHOLE[3:]
    assert case.quarantine[0]["row"] == "2" and "cut short: 3 of its 9 bytes" in case.quarantine[0]["reason"]


@pytest.mark.parametrize(("form", "row"), [("category", "undecodable,1"), ("probability", "undecodable,1")])
def test_a_default_is_written_in_its_place_where_the_id_is_known(tmp_path, form, row):
    case = Case(tmp_path, second=[SECOND[0], b"undecodable", b"", *SECOND[1:]])
    assert case.merge(DEFAULT, form=form) == Merged(rows=9, quarantined=1, defaulted=1)
    assert case.rows[4] == row and [line.partition(",")[0] for line in case.rows[3:6]] == [
        "1.jpg",
        "undecodable",
        "2.jpg",
    ]
    assert [one["reason"] for one in case.quarantine] == ["it has no id"]


def test_a_default_that_is_no_class_of_the_model_is_refused(tmp_path):
    with pytest.raises(UserError, match="--default_category=2") as caught:
        Case(tmp_path, second=[b"undecodable"]).merge(DEFAULT, category=2)
    assert "0 to 1" in caught.value.found


def test_to_fail_names_the_first_bad_record(tmp_path):
    with pytest.raises(DataError, match=r"record at byte 21 \(undecodable\): Invalid JPEG data"):
        Case(tmp_path, second=[b"1.jpg", b"undecodable", b""]).merge(FAIL)


@pytest.mark.parametrize("size", PIECES)
def test_an_id_that_comes_twice_is_refused_with_both_places(tmp_path, size):
    case = Case(tmp_path, second=[b"1.jpg", b"undecodable", b"3.jpg", b"1.jpg"])
    with pytest.raises(DataError, match="same id") as caught:
        case.merge(QUARANTINE, size=size)
    assert f"'3.jpg' is the id of record 1 of {case.a} and of record 2 of {case.c}" in caught.value.found


def test_a_default_may_not_double_an_id_either(tmp_path):
    with pytest.raises(DataError, match="same id"):
        Case(tmp_path, second=[b"undecodable", b"undecodable"]).merge(DEFAULT)


def test_a_missing_part_is_no_shorter_submission(tmp_path):
    case = Case(tmp_path)
    files, parts = all_parts(tmp_path / "parts", [case.a, case.empty, case.c], 40)
    parts.forget(2, 1)
    with pytest.raises(InfrastructureError, match=r"1 pieces of .*c have none"):
        SubmissionMerge(files, parts, FAIL, 0).write(lambda file, table: None, Quarantine(io.BytesIO))


def test_a_part_that_lost_a_row_is_no_shorter_submission(tmp_path, monkeypatch):
    case = Case(tmp_path)
    files, parts = all_parts(tmp_path / "parts", [case.a, case.empty, case.c], 1 << 24)
    first, whole = parts.read(0, 0), parts.read(2, 0)
    monkeypatch.setattr(parts, "read", lambda file, number: whole.slice(0, 4) if file else first)
    with pytest.raises(InfrastructureError, match="8 records were read") as caught:
        SubmissionMerge(files, parts, FAIL, 0).write(lambda file, table: None, Quarantine(io.BytesIO))
    assert "The count does not add up" in str(caught.value)


IDS = [b"%d-%s.jpg" % (number, b"x" * 20 * number) for number in range(12)]
FRAMED = b"".join(map(framed, IDS))


@settings(max_examples=500, deadline=None)
@given(changes_of(len(FRAMED)), st.integers(60, 1500))
def test_of_any_damaged_file_each_record_is_written_once_or_its_damage_is_listed_and_the_count_adds_up(changes, size):
    data = mutated(FRAMED, changes)
    with tempfile.TemporaryDirectory() as name, patch("os.fsync"):
        folder = Path(name)
        case = Case(folder, [], [])
        Path(case.c).write_bytes(data)
        try:
            merged = case.merge(QUARANTINE, size=size)
        except DataError as error:
            if error.summary != "Two records have the same id":  # a record may have been doubled whole
                raise
            return
    ids, listed = [row.rpartition(",")[0] for row in case.rows], case.quarantine
    assert (len(ids), len(listed)) == (merged.rows, merged.quarantined)
    assert set(ids) <= {one.decode() for one in IDS} and len(ids) == len(set(ids))
    sizes = sum(len(one) + 16 for one in ids) + sum(int(row["bytes"]) for row in listed)
    assert sizes == len(data)  # every byte of the file is in a row, or in a row of the quarantine
    rows = sorted(int(row["row"]) for row in listed)
    assert len(set(rows)) == len(rows) and set(rows) <= set(range(merged.rows + merged.quarantined))
