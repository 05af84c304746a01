from __future__ import annotations

import os
from pathlib import Path

import pytest

from estimators.errors import DataError, UserError
from estimators.inputs.data_check import DataFiles, check_data
from estimators.records.record_schema import serialize_example
from tests.estimators.drawn_records import (
    cut,
    flip,
    noisy_picture,
    numbered_file,
    offset_of,
    picture,
    record,
    write_file,
)


def check(pattern: object, *, num_classes: int | None = 2, skip: bool = False) -> tuple[DataFiles, list[str]]:
    lines: list[str] = []
    files = check_data(
        str(pattern),
        flag="train_data_pattern",
        num_classes=num_classes,
        on_bad_record="skip" if skip else "fail",
        announce=lines.append,
    )
    return files, lines


def refused(pattern: object, **how: object) -> UserError:
    with pytest.raises(UserError) as caught:
        check(pattern, **how)  # type: ignore[arg-type]
    return caught.value


def test_files_are_found_in_order_and_counted(tmp_path: Path) -> None:
    paths = [numbered_file(tmp_path / f"t-{i}", range(i + 1)) for i in range(3)]
    files, lines = check(tmp_path / "t-*")
    assert files == DataFiles(tuple(paths), (1, 2, 3)) and files.examples == 6 and lines == []


def test_each_of_several_patterns_matches_something(tmp_path: Path) -> None:
    for name in ("a-0", "b-0"):
        numbered_file(tmp_path / name, [0])
    assert len(check(f"{tmp_path}/a-*, {tmp_path}/b-*")[0].paths) == 2
    with pytest.raises(UserError, match="A part of --train_data_pattern matches no file") as caught:
        check(f"{tmp_path}/a-*,{tmp_path}/c-*")
    assert f"nothing for {tmp_path}/c-*" in caught.value.found and "a-0" in caught.value.found


def test_looking_at_many_files_shows_how_far_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("estimators.processes.progress._SECONDS_BETWEEN_LINES", 0.0)
    for name in ("t-0", "t-1"):
        numbered_file(tmp_path / name, range(3))
    check(tmp_path / "t-*")
    assert capsys.readouterr().out.splitlines() == [
        "1 of 2 files looked at",
        "2 of 2 files looked at",
        "1 of 2 files looked up",
        "2 of 2 files looked up",
        "1 of 2 files counted",
        "2 of 2 files counted",
    ]


def test_a_pipe_is_refused_and_not_waited_on(tmp_path: Path) -> None:
    numbered_file(tmp_path / "t-0", [0])
    os.mkfifo(tmp_path / "t-1")
    error = refused(tmp_path / "t-*")
    assert "is a pipe" in error.summary and error.found == f"{tmp_path}/t-1"


def test_a_pattern_that_matches_nothing_names_what_is_there(tmp_path: Path) -> None:
    numbered_file(tmp_path / "train-0", [0])
    error = refused(tmp_path / "tarin-*")
    assert f"--train_data_pattern={tmp_path}/tarin-*" in error.asked
    assert "train-0" in error.found and "quotes" in error.change


@pytest.mark.parametrize("named", ["data", "data/"])
def test_a_folder_is_told_with_the_pattern_that_may_be_meant(named: str, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    numbered_file(tmp_path / "data" / "train-0", [0])
    error = refused(f"{tmp_path}/{named}")
    assert "is a folder" in error.summary and "train-0" in error.found
    assert f"--train_data_pattern='{tmp_path}/data/*'" in error.change


def test_a_folder_that_does_not_exist_is_told(tmp_path: Path) -> None:
    assert f"the folder {tmp_path}/nowhere does not exist" in refused(tmp_path / "nowhere" / "*").found


def test_a_file_that_is_no_tfrecord_file_is_refused_also_where_bad_records_are_skipped(tmp_path: Path) -> None:
    numbered_file(tmp_path / "a", range(3))
    (tmp_path / "b.txt").write_text("Id,Category\n1.jpg,0\n")
    for skip in (False, True):
        error = refused(tmp_path / "*", skip=skip)
        assert isinstance(error, DataError) and "b.txt" in str(error) and "pattern" in error.change


BAD_FIRST = {
    "no label": (record(0, label=None), "it has no image/class/label"),
    "label too high": (record(0, label=2), "its label 2 is outside [0, 2), see --num_classes"),
    "label below 0": (record(0, label=-2), "its label -2 is outside [0, 2)"),
    "no picture": (serialize_example(b"", "0.jpg", 0), "it has no image/encoded"),
    "no picture format": (serialize_example(b"hello", "0.jpg", 0), "none of JPEG, PNG, GIF, BMP"),
    "half a picture": (serialize_example(noisy_picture()[:3000], "0.jpg", 0), "does not decode"),
    "no example": (b"\x07garbage", "not a tf.train.Example"),
}


@pytest.mark.parametrize("name", BAD_FIRST)
def test_a_bad_first_record_is_named_with_file_offset_and_way_out(name: str, tmp_path: Path) -> None:
    bad, reason = BAD_FIRST[name]
    path = write_file(tmp_path / "bad", [bad, record(1)])
    error = refused(path)
    assert isinstance(error, DataError)
    assert f"{path}, record at byte 0" in error.found and reason in error.found
    assert "--train_data_pattern" in error.change and "--on_bad_record=skip" in error.change
    if name != "no example":
        assert "(0.jpg)" in error.found


@pytest.mark.parametrize("name", BAD_FIRST)
def test_a_bad_first_record_is_passed_over_and_told_with_skip(name: str, tmp_path: Path) -> None:
    bad, reason = BAD_FIRST[name]
    files, lines = check(write_file(tmp_path / "bad", [bad, record(1)]), skip=True)
    assert files.counts == (2,)
    assert len(lines) == 1 and "will be skipped" in lines[0] and reason in lines[0]


def test_the_first_record_of_every_file_is_tried(tmp_path: Path) -> None:
    numbered_file(tmp_path / "a", range(3))
    write_file(tmp_path / "b", [record(7, label=None)])
    assert "7.jpg" in refused(tmp_path / "*").found


def test_a_test_set_needs_ids_but_no_labels(tmp_path: Path) -> None:
    path = write_file(tmp_path / "test", [record(0, label=None)])
    assert check(path, num_classes=None)[0].examples == 1
    unnamed = write_file(tmp_path / "unnamed", [serialize_example(picture(), "")])
    assert "it has no image/filename" in refused(unnamed, num_classes=None).found


def test_a_training_set_needs_no_ids(tmp_path: Path) -> None:
    assert check(write_file(tmp_path / "t", [serialize_example(picture(), "", 1)]))[0].examples == 1


def test_damaged_data_in_the_first_record_is_refused_or_skipped_as_asked(tmp_path: Path) -> None:
    path = numbered_file(tmp_path / "t", range(3))
    flip(path, 40)
    assert "at byte 0: the checksum of the record's data is wrong" in refused(path).found
    files, lines = check(path, skip=True)
    assert files.counts == (3,) and len(lines) == 1 and path in lines[0]


def test_a_truncated_file_is_refused_or_counted_up_to_the_cut(tmp_path: Path) -> None:
    path = numbered_file(tmp_path / "t", range(3))
    cut(path, offset_of(map(record, range(2))) + 30)
    error = refused(path)
    assert isinstance(error, DataError) and path in error.asked and "cut short" in error.found
    files, lines = check(path, skip=True)
    assert files.counts == (2,) and len(lines) == 1 and "cut short" in lines[0]


def test_files_without_a_record_are_refused_only_if_all_are(tmp_path: Path) -> None:
    write_file(tmp_path / "t-0", [])
    assert "1 empty files" in refused(tmp_path / "t-*").found
    numbered_file(tmp_path / "t-1", range(2))
    assert check(tmp_path / "t-*")[0].counts == (0, 2)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "GIF", "BMP"])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_what_tensorflow_decodes_is_accepted(format: str, mode: str, tmp_path: Path) -> None:
    data = serialize_example(picture(7, format=format, mode=mode), "x", 0)
    assert check(write_file(tmp_path / "t", [data]))[0].examples == 1


def test_what_tensorflow_does_not_decode_is_refused(tmp_path: Path) -> None:
    data = serialize_example(picture(7, format="TIFF"), "x.tif", 0)
    assert "x.tif" in refused(write_file(tmp_path / "t", [data])).found


def test_the_real_photos_pass(photos: Path) -> None:
    files, lines = check(photos / "catsvsdogs" / "train" / "*")
    assert (len(files.paths), files.examples, lines) == (8, 1200, [])
    assert check(photos / "catsvsdogs" / "test" / "*", num_classes=None)[0].examples == 500
    assert "it has no image/class/label" in refused(photos / "catsvsdogs" / "test" / "*").found
