from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from estimators import storage
from estimators.conversion.check_options import CheckOptions
from estimators.conversion.data_set_check import check_data_set
from estimators.conversion.shard_writer import write_split
from estimators.conversion.synthetic_data_set import write_synthetic_data_set
from estimators.conversion.synthetic_options import SyntheticOptions
from estimators.data_set.manifest import Manifest, ShardEntry
from estimators.errors import DataError, UserError
from estimators.records.record_schema import serialize_example
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


def check(pattern: object, **options) -> list[str]:
    """The lines about an intact data set."""
    lines: list[str] = []
    check_data_set(CheckOptions(check=str(pattern), **options), announce=lines.append, num_processes=1)
    return lines


def faults(pattern: object, **options) -> tuple[DataError, list[str]]:
    """The error and the lines about one with faults."""
    lines: list[str] = []
    with pytest.raises(DataError) as caught:
        check_data_set(CheckOptions(check=str(pattern), **options), announce=lines.append, num_processes=1)
    return caught.value, [line.strip() for line in lines if line.startswith("  ")]


def test_an_intact_file_gets_a_line_and_the_end_counts_all(tmp_path):
    numbered_file(tmp_path / "t-0", range(3))
    write_file(tmp_path / "t-1", [record(number, label=None) for number in range(3, 5)])
    first, second, end = check(tmp_path / "t-*")
    assert first == f"{tmp_path}/t-0: 3 records (2 of label 0, 1 of label 1), intact"
    assert second == f"{tmp_path}/t-1: 2 records (2 without label), intact"
    assert end == "5 records in 2 files: no fault"


def test_a_whole_drawn_data_set_is_checked_by_its_folder_in_however_many_processes(tmp_path):
    write_synthetic_data_set(SyntheticOptions(synthetic=20, output=str(tmp_path / "data"), num_shards=2))
    lines: list[str] = []
    check_data_set(CheckOptions(check=str(tmp_path / "data")), announce=lines.append, num_processes=2)
    assert lines == check(tmp_path / "data") and lines[-1] == "20 records in 6 files: no fault"


@pytest.mark.parametrize("name", ["set[1]", "a*b", "what?", "cats,dogs"])
def test_a_folder_is_checked_whatever_it_is_called(name, tmp_path):
    folder = tmp_path / name
    for number, split in enumerate(("test", "train", ".train.partial")):
        (folder / split).mkdir(parents=True)
        numbered_file(folder / split / f"{split}-0", range(2 * number, 2 * number + 2))
    (folder / "train" / ".train-1.x.partial").touch()
    (folder / "manifest.json").write_text("{}")
    first, second, *_ = lines = check(folder)
    assert first.startswith(f"{folder}/test/test-0: ") and second.startswith(f"{folder}/train/train-0: ")
    assert lines[-1] == "4 records in 2 files: no fault"


def test_a_folder_in_a_bucket_is_checked_too(bucket, tmp_path):
    shard = Path(numbered_file(tmp_path / "t", range(2))).read_bytes()
    with storage.written_whole(f"{bucket}/set[1]/train/train-0") as file:
        file.write(shard)
    assert check(f"{bucket}/set[1]")[-1] == "2 records in 1 files: no fault"


def test_a_folder_without_a_data_set_is_told_with_what_it_holds(tmp_path):
    numbered_file(tmp_path / "train-0", range(2))
    with pytest.raises(UserError, match="The folder holds no data set") as caught:
        check(tmp_path)
    assert "train-0" in caught.value.found and "--check" in caught.value.change


IMAGE, ID = picture(1), b"0.jpg"
BAD = {
    "no picture": (serialize_example(b"", "0.jpg", 0), "it has no image/encoded"),
    "no id": (serialize_example(picture(), "", 0), "it has no image/filename"),
    "a label too high": (record(0, label=2), "its label 2 is outside [0, 2)"),
    "a label below 0": (record(0, label=-1 - 1), "its label -2 is outside"),
    "no picture format": (serialize_example(b"hello", "0.jpg", 0), "does not decode: 5 bytes"),
    "half a picture": (serialize_example(noisy_picture()[:3000], "0.jpg", 0), "does not decode: image file is trunc"),
    "no example": (b"\x07garbage", "not a tf.train.Example"),
    "a label that is a float": (
        raw_record(encoded__bytes_list=[IMAGE], id__bytes_list=[ID], label__float_list=[1.0]),
        "image/class/label is of kind float_list",
    ),
    "two labels": (
        raw_record(encoded__bytes_list=[IMAGE], id__bytes_list=[ID], label__int64_list=[1, 0]),
        "image/class/label holds 2 values",
    ),
    "two pictures": (
        raw_record(encoded__bytes_list=[IMAGE, IMAGE], id__bytes_list=[ID], label__int64_list=[1]),
        "image/encoded holds 2 values",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_record_anywhere_is_named_and_the_others_are_still_checked(name, tmp_path):
    bad, reason = BAD[name]
    path = write_file(tmp_path / "t", [record(1, label=1), bad, record(2, label=5)])
    error, lines = faults(path)
    (found,) = [line for line in lines if reason in line]
    assert found.startswith(f"{path}, record at byte {offset_of([record(1, label=1)])}")
    assert any("its label 5" in line for line in lines)
    assert error.exit_code == 2 and f"--check={path}" in error.asked and path in error.found


def test_damage_is_found_and_reading_goes_on_behind_it(tmp_path):
    path = numbered_file(tmp_path / "t", range(4))
    flip(path, offset_of([record(0)]) + 40)
    error, lines = faults(path)
    assert "1 faults in 1 files with 3 records" in error.found
    assert lines == [f"{path}, at byte {offset_of([record(0)])}: the checksum of the record's data is wrong"]


def test_a_cut_file_and_a_file_that_is_none_are_faults(tmp_path):
    cut(numbered_file(tmp_path / "a", range(4)), 1000)
    (tmp_path / "b").write_text("Id,Category\n1.jpg,0\n")
    error, lines = faults(tmp_path / "*")
    assert "cut short" in lines[0] and "checksum of the record's length" in lines[1]
    assert error.found.startswith("2 faults in 2 files")
    assert all(line.count(str(tmp_path)) == 1 for line in lines), "each names its file, and once"


def test_an_id_that_occurs_twice_is_named_with_both_places_also_across_files(tmp_path):
    first, second = numbered_file(tmp_path / "a", [1, 2, 1]), numbered_file(tmp_path / "b", [3, 2])
    _, lines = faults(tmp_path / "*")
    assert lines == [
        f"{first}, record at byte {offset_of([record(1), record(2)])}: its id 1.jpg is also that of "
        f"{first}, record at byte 0",
        f"{second}, record at byte {offset_of([record(3)])}: its id 2.jpg is also that of "
        f"{first}, record at byte {offset_of([record(1)])}",
    ]


def test_the_same_picture_under_two_ids_is_told_but_is_no_fault(tmp_path):
    write_file(tmp_path / "t", [serialize_example(picture(), name, 0) for name in ("a.jpg", "b.jpg")])
    assert any("note: 1 pictures occur more than once" in line for line in check(tmp_path / "t"))


def test_a_file_with_and_without_labels_is_a_fault(tmp_path):
    _, lines = faults(write_file(tmp_path / "t", [record(0), record(1, label=None)]))
    assert lines == [f"{tmp_path}/t, 1 of its 2 records have no label and the others have one"]


def test_the_number_of_classes_comes_from_the_flag_the_manifest_or_is_2(tmp_path):
    (shard,) = write_split(str(tmp_path), "train", [record(1, label=2)], 1, 1)
    path = tmp_path / shard.path
    assert "outside [0, 2)" in faults(path)[1][0]
    assert check(path, num_classes=3)
    entry = ShardEntry(shard.path, 1, True, {"c": 1}, shard.size, shard.sha256)
    Manifest(class_names=("a", "b", "c"), seed=0, shards=(entry,), pictures={}, made_with="").write(str(tmp_path))
    assert check(path)
    assert "outside [0, 2)" in faults(path, num_classes=2)[1][0]


def drawn(tmp_path: Path) -> Path:
    write_synthetic_data_set(SyntheticOptions(synthetic=10, output=str(tmp_path / "data"), num_shards=2))
    return tmp_path / "data"


def test_a_shard_that_is_not_the_one_in_the_manifest_is_a_fault(tmp_path):
    data = drawn(tmp_path)
    train = data / "train" / "train-00000-of-00002"
    train.write_bytes((data / "train" / "train-00001-of-00002").read_bytes())
    _, lines = faults(data / "train" / "*0-of*")
    assert len(lines) == 1 and "SHA-256 is not the one in manifest.json" in lines[0]
    numbered_file(train, range(9))
    assert "9 records can be read and manifest.json lists 3" in faults(train)[1][0]


def test_a_shard_that_is_gone_is_a_fault_where_its_split_is_checked(tmp_path):
    data = drawn(tmp_path)
    (data / "train" / "train-00001-of-00002").unlink()
    error, _ = faults(data / "train" / "*")
    assert "train-00001-of-00002: it is listed in manifest.json and is not there" in error.found
    assert check(data / "validation" / "*")


def test_a_long_list_of_faults_is_cut_short(tmp_path):
    path = write_file(tmp_path / "t", [record(number, label=7) for number in range(60)])
    error, lines = faults(path)
    assert error.found.startswith("60 faults") and len(lines) == 21 and "40 more faults" in lines[-1]


def test_files_without_a_record_are_no_data_set(tmp_path):
    write_file(tmp_path / "t", [])
    assert "1 empty files" in faults(tmp_path / "t")[0].found


def test_a_pattern_that_matches_nothing_names_what_is_there(tmp_path):
    numbered_file(tmp_path / "train-0", [0])
    with pytest.raises(UserError) as refused:
        check(tmp_path / "tarin-*")
    assert "train-0" in refused.value.found


def test_a_picture_that_claims_far_too_many_pixels_is_a_fault(tmp_path):
    small = picture()
    place = small.index(b"\xff\xc0") + 5
    bomb = small[:place] + bytes([0x2E, 0xE0, 0x2E, 0xE0]) + small[place + 4 :]
    _, lines = faults(write_file(tmp_path / "t", [serialize_example(bomb, "bomb.jpg", 0)]))
    assert "(bomb.jpg)" in lines[0] and "144000000 pixels" in lines[0]


def test_the_real_photos_have_no_fault(photos):
    assert check(photos / "catsvsdogs" / "validation" / "*")[-1] == "300 records in 2 files: no fault"


def test_the_time_of_the_manifest_does_not_matter_to_a_check(tmp_path):
    data = drawn(tmp_path)
    os.utime(data / "manifest.json", ns=(1, 1))
    assert check(data)
    assert json.loads((data / "manifest.json").read_text())["class_names"] == ["cat", "dog"]
