from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import IO

import pytest

from estimators import storage
from estimators.conversion.shard_writer import write_split
from estimators.data_set.manifest import Manifest, ShardEntry, counts_of, listed, read_manifest
from estimators.errors import DataError
from estimators.inputs import data_check
from estimators.inputs.data_check import check_data
from tests.estimators.drawn_records import cut, flip, record


def made(folder: Path, *, num_shards: int = 2) -> list[str]:
    """A data set of 5 training records with its manifest; the paths of its shards."""
    shards = write_split(str(folder), "train", map(record, range(5)), 5, num_shards)
    entries = [
        ShardEntry(shard.path, shard.examples, True, {"cat": 1, "dog": shard.examples - 1}, shard.size, shard.sha256)
        for shard in shards
    ]
    Manifest(class_names=("cat", "dog"), seed=3, shards=tuple(entries), pictures={"kept": 5}, made_with="Pillow").write(
        str(folder)
    )
    return [str(folder / shard.path) for shard in shards]


def counted(pattern: object, *, skip: bool = False) -> tuple[int, ...]:
    how = "skip" if skip else "fail"
    return check_data(str(pattern), flag="x", num_classes=2, on_bad_record=how, announce=lambda line: None).counts


def test_what_is_written_is_read_again_and_holds_counts_for_people_too(tmp_path):
    made(tmp_path)
    manifest = read_manifest(str(tmp_path))
    assert manifest and manifest.examples() == {"train": 5} and manifest.seed == 3
    content = json.loads((tmp_path / "manifest.json").read_text())
    assert content["version"] == 1 and content["class_names"] == ["cat", "dog"]
    assert content["splits"] == {"train": {"examples": 5, "labelled": True, "classes": {"cat": 2, "dog": 3}}}
    assert f"5 pictures in {tmp_path}/train/train-*: 2 cat, 3 dog" in manifest.summary(str(tmp_path))
    assert "labels: 0 = cat, 1 = dog" in manifest.summary(str(tmp_path))


def test_the_counts_come_without_opening_a_shard(tmp_path, monkeypatch):
    paths = made(tmp_path)
    opened: list[str] = []
    real = storage.open_binary

    def noted(path: str) -> IO[bytes]:
        opened.append(path)
        return real(path)

    monkeypatch.setattr(storage, "open_binary", noted)
    assert counts_of(list(listed(paths))) == (2, 3)
    assert counts_of(list(listed(paths[::-1]))) == (3, 2)
    assert opened == []  # the manifest is read at once, as a text


def test_relative_paths_are_found_too(tmp_path, monkeypatch):
    made(tmp_path)
    monkeypatch.chdir(tmp_path / "train")
    assert counts_of(list(listed(["train-00000-of-00002"]))) == (2,)


def test_training_takes_its_counts_from_the_manifest(tmp_path, monkeypatch):
    made(tmp_path)

    def must_not_count(*args: object, **options: object) -> int:
        raise AssertionError("the records were counted")

    monkeypatch.setattr(data_check, "count_records", must_not_count)
    assert counted(tmp_path / "train" / "*") == (2, 3)


@pytest.mark.parametrize("labelled", [True, False])
def test_more_classes_than_asked_for_are_told_though_no_file_begins_with_one(tmp_path, labelled):
    shards = write_split(str(tmp_path), "train", map(record, range(5)), 5, 1)
    classes = {"cat": 2, "dog": 2, "fox": 1}
    entries = tuple(ShardEntry(one.path, one.examples, labelled, classes, one.size, one.sha256) for one in shards)
    Manifest(class_names=tuple(classes), seed=3, shards=entries, pictures={"kept": 5}, made_with="").write(
        str(tmp_path)
    )
    if not labelled:
        assert counted(tmp_path / "train" / "*") == (5,)
        return
    with pytest.raises(DataError, match="more classes than --num_classes") as caught:
        counted(tmp_path / "train" / "*")
    assert "label 2 (fox)" in caught.value.found and caught.value.change == "--num_classes=3"


def test_the_first_record_of_each_file_is_tried_all_the_same(tmp_path):
    paths = made(tmp_path)
    flip(paths[1], 40)
    older_than_manifest(paths[1])
    with pytest.raises(DataError, match=r"(?s)damaged.*at byte 0"):
        counted(tmp_path / "train" / "*")


def older_than_manifest(path: str) -> None:
    os.utime(path, ns=(1, 1))


def test_a_file_of_another_size_is_counted_anew_whatever_its_time(tmp_path):
    paths = made(tmp_path)
    data = Path(paths[0]).read_bytes()
    Path(paths[0]).write_bytes(data + data)
    older_than_manifest(paths[0])
    assert counts_of(list(listed(paths))) is None
    assert counted(tmp_path / "train" / "*") == (4, 3)


def test_a_file_of_the_same_size_that_is_younger_is_counted_anew(tmp_path):
    paths = made(tmp_path)
    flip(paths[1], 100)
    later = os.stat(tmp_path / "manifest.json").st_mtime_ns + 1
    os.utime(paths[1], ns=(later, later))
    assert counts_of(list(listed(paths))) is None
    assert counts_of(list(listed(paths[:1]))) == (2,)


def test_a_truncated_file_is_still_found_before_anything_starts(tmp_path):
    paths = made(tmp_path)
    cut(paths[1], os.path.getsize(paths[1]) - 3)
    with pytest.raises(DataError, match="cut short"):
        counted(tmp_path / "train" / "*")


def test_who_skips_bad_records_has_the_headers_counted(tmp_path):
    paths = made(tmp_path, num_shards=1)
    flip(paths[0], os.path.getsize(paths[0]) // 5 * 3 + 1)  # the fourth record's length, since all have one size
    older_than_manifest(paths[0])
    assert counted(tmp_path / "train" / "*", skip=True)[0] < 5


def test_a_file_that_is_not_listed_or_has_no_manifest_is_counted(tmp_path):
    paths = made(tmp_path / "listed")
    shutil.copy(paths[0], tmp_path / "listed" / "train" / "extra")
    assert counts_of(list(listed([*paths, str(tmp_path / "listed/train/extra")]))) is None
    other = tmp_path / "other" / "train"
    other.mkdir(parents=True)
    shutil.copy(paths[0], other)
    assert counts_of(list(listed([*paths, str(other / "train-00000-of-00002")]))) is None


def test_several_data_sets_have_their_own_manifests(tmp_path):
    first, second = made(tmp_path / "a"), made(tmp_path / "b", num_shards=1)
    assert counts_of(list(listed(first + second))) == (2, 3, 5)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "no JSON",
        "[]",
        "{}",
        '{"version": 2}',
        '{"version": 1}',
        '{"name": "an app", "icons": []}',
        '{"version": 1, "class_names": [], "seed": 0, "shards": 7, "pictures": {}, "made_with": ""}',
    ],
)
def test_a_manifest_of_somebody_else_is_none(content, tmp_path):
    paths = made(tmp_path)
    (tmp_path / "manifest.json").write_text(content)
    assert read_manifest(str(tmp_path)) is None and counts_of(list(listed(paths))) is None


@pytest.mark.parametrize(("key", "value"), [("examples", "2"), ("examples", -1), ("examples", True), ("bytes", None)])
def test_a_count_that_is_none_makes_the_manifest_none(key, value, tmp_path):
    paths = made(tmp_path)
    content = json.loads((tmp_path / "manifest.json").read_text())
    content["shards"][0][key] = value
    (tmp_path / "manifest.json").write_text(json.dumps(content))
    assert counts_of(list(listed(paths))) is None


def test_no_files_have_no_counts_but_that_is_an_answer():
    assert counts_of(list(listed([]))) == ()
