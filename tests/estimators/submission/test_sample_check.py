"""A submission has the ids of the sample, no fewer and no others."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path

import pytest

from estimators.errors import DataError, UserError
from estimators.submission.sample_check import SampleCheck, check_sample
from estimators.submission.unique_ids import hashes_of

IDS = [b"%d.jpg" % number for number in range(100_000)]


def _sample(folder: Path, ids: list[bytes], end: bytes = b"\n") -> str:
    path = folder / "sample.csv"
    path.write_bytes(end.join([b"\xef\xbb\xbfId,Category", *(b'"%s",0' % one for one in ids), b""]))
    return str(path)


def _result(folder: Path, sample: list[bytes], ours: list[bytes]) -> str | None:
    (folder / "work").mkdir()
    check = SampleCheck(_sample(folder, sample), str(folder / "work"))
    for begin in range(0, len(ours), 30_000):
        check.add(hashes_of(ours[begin : begin + 30_000]))

    def ids_of(rows: Collection[int]) -> dict[int, bytes]:
        return {row: ours[row] for row in rows}

    return check.result(ids_of)


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_the_same_ids_in_the_same_order_are_all_right(tmp_path, end):
    assert _result(tmp_path, IDS, IDS) is None
    check_sample(_sample(tmp_path, [b"a,b\nc"], end))


def test_another_order_is_told_with_its_first_row(tmp_path):
    told = _result(tmp_path, IDS, [*IDS[:70_000], IDS[70_001], IDS[70_000], *IDS[70_002:]])
    assert told is not None and "row 70001 is 70001.jpg here and 70000.jpg there" in told


@pytest.mark.parametrize("sample", [[*IDS[:9], IDS[3]], [IDS[3], *IDS[:9]]])
def test_a_sample_that_holds_an_id_twice_is_told(tmp_path, sample):
    assert _result(tmp_path, sample, IDS[:9]) is not None


@pytest.mark.parametrize(
    ("ours", "found"),
    [
        (IDS[:-2], "2 are missing: 99998.jpg, 99999.jpg"),
        (IDS[1:], "1 are missing: 0.jpg"),
        ([*IDS, b"new.jpg"], "1 are not in it: new.jpg"),
        ([*IDS[:5], b"new.jpg", *IDS[6:]], "1 are missing: 5.jpg; 1 are not in it: new.jpg"),
        (IDS[:50], "99950 are missing: 50.jpg, 51.jpg, 52.jpg, …"),
    ],
)
def test_missing_and_other_ids_are_named(tmp_path, ours, found):
    with pytest.raises(DataError, match="not those of the sample") as caught:
        _result(tmp_path, IDS, ours)
    assert caught.value.found == found


@pytest.mark.parametrize("content", [None, b"", b"Id,Category\n", b"\xff\xfe\xff"])
def test_a_file_that_is_no_sample_is_told(tmp_path, content):
    if content is not None:
        (tmp_path / "sample.csv").write_bytes(content)
    with pytest.raises(UserError, match="sample submission cannot be used"):
        check_sample(str(tmp_path / "sample.csv"))


def test_a_pipe_is_told_before_it_is_read(tmp_path):
    os.mkfifo(tmp_path / "sample.csv")
    with pytest.raises(UserError, match="sample submission cannot be used"):
        check_sample(str(tmp_path / "sample.csv"))


@pytest.mark.parametrize("row", [b"\xff.jpg,0", b'"' + b"x" * 200_000 + b'",0'])
def test_a_row_far_down_that_is_no_csv_is_told_before_anything_begins(tmp_path, row):
    (tmp_path / "sample.csv").write_bytes(b"Id,Category\n" + b"1.jpg,0\n" * 50_000 + row + b"\n")
    with pytest.raises(UserError, match="sample submission cannot be used") as caught:
        check_sample(str(tmp_path / "sample.csv"))
    assert "after line 50001" in caught.value.found
