from __future__ import annotations

from pathlib import Path

import pytest

from estimators.errors import DataError
from estimators.inputs.data_check import DataFiles, find_bad_record
from estimators.records.record_schema import serialize_example
from estimators.records.tfrecord_framing import count_records
from tests.estimators.drawn_records import (
    cut,
    flip,
    noisy_picture,
    numbered_file,
    offset_of,
    picture,
    raw_record,
    record,
    write_file,
)


def found_in(*paths: str, num_classes: int | None = 2) -> DataError | None:
    counts = tuple(count_records(path, on_damage=lambda damage: None) for path in paths)
    return find_bad_record(DataFiles(paths, counts), flag="train_data_pattern", num_classes=num_classes)


BAD = {
    "no label": (record(9, label=None), "it has no image/class/label"),
    "label out of range": (record(9, label=5), "its label 5 is outside [0, 2)"),
    "two labels": (
        raw_record(encoded__bytes_list=[picture()], id__bytes_list=[b"9.jpg"], label__int64_list=[0, 1]),
        "its image/class/label holds 2 values, not one",
    ),
    "no picture format": (serialize_example(b"hello", "9.jpg", 0), "does not decode: Unknown image file format"),
    "most of a picture": (serialize_example(noisy_picture()[:-2000], "9.jpg", 0), "does not decode: jpeg"),
}


@pytest.mark.parametrize("name", BAD)
def test_the_record_is_named_with_file_offset_id_and_reason(tmp_path: Path, name: str) -> None:
    bad, reason = BAD[name]
    before = [record(0), record(1), record(2)]
    good = numbered_file(tmp_path / "a", range(3))
    path = write_file(tmp_path / "b", [*before, bad, record(4)])
    error = found_in(good, path)
    assert error is not None
    assert f"{path}, record at byte {offset_of(before)} (9.jpg): " in error.found
    assert reason.lower() in error.found.lower()
    assert "--train_data_pattern" in error.change and "--on_bad_record=skip" in error.change
    assert "{{" not in error.found and "[Op:" not in error.found, "no node names of TensorFlow's"


def test_a_damaged_or_truncated_file_is_named_with_the_offset(tmp_path: Path) -> None:
    path = numbered_file(tmp_path / "a", range(4))
    flip(path, offset_of(map(record, range(2))) + 40)
    error = found_in(path)
    assert error is not None and path in str(error)
    assert f"at byte {offset_of(map(record, range(2)))}: the checksum of the record's data is wrong" in error.found
    short = numbered_file(tmp_path / "b", range(4))
    cut(short, offset_of(map(record, range(3))) + 20)
    error = found_in(short)
    assert error is not None and f"at byte {offset_of(map(record, range(3)))}: the record is cut short" in error.found


def test_where_nothing_is_damaged_there_is_nothing_to_say(tmp_path: Path) -> None:
    assert found_in(numbered_file(tmp_path / "a", range(4))) is None


def test_the_search_ends_after_the_time_it_is_given(tmp_path: Path) -> None:
    path = write_file(tmp_path / "a", [record(0), record(1), record(2, label=9)])
    files = DataFiles((path,), (3,))
    assert find_bad_record(files, flag="train_data_pattern", num_classes=2, seconds=-1) is None
