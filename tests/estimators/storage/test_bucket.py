"""Files in a bucket, of an emulator; what they promise is what local ones do."""

from __future__ import annotations

import io
import threading
from pathlib import Path

import pytest

from estimators import storage
from tests.buckets.emulator import Emulator

NAMES = ("a-1", "a-2", "b", ".hidden", "train/train-0", "train/train-1", "train/deep/x-1", "weird[1]", "größe")


@pytest.fixture(params=["local", "bucket"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A folder here, and one in a bucket; each test that takes it has to hold for both."""
    return str(tmp_path) if request.param == "local" else f"{request.getfixturevalue('bucket')}/folder"


@pytest.fixture
def filled(folder: str) -> str:
    for name in NAMES:
        storage.make_dirs(f"{folder}/{name}".rpartition("/")[0])
        storage.write_text(f"{folder}/{name}", name)
    return folder


def fail_midway(path: str) -> None:
    with storage.written_whole(path) as file:
        file.write(b"half")
        raise RuntimeError("midway")


def test_a_text_comes_back_and_replaces_an_older_one(folder: str) -> None:
    storage.write_text(f"{folder}/state.json", "old")
    before = storage.identity(f"{folder}/state.json")
    storage.write_text(f"{folder}/state.json", "nü")
    assert storage.read_text(f"{folder}/state.json") == "nü" and storage.identity(f"{folder}/state.json") != before
    assert storage.list_dir(folder) == ["state.json"] and storage.size(f"{folder}/state.json") == 3


def test_a_block_that_fails_leaves_the_old_file(folder: str) -> None:
    storage.write_text(f"{folder}/result", "old")
    with pytest.raises(RuntimeError, match="midway"):
        fail_midway(f"{folder}/result")
    assert storage.read_text(f"{folder}/result") == "old" and storage.list_dir(folder) == ["result"]


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("a-*", ["a-1", "a-2"]),
        ("*", ["a-1", "a-2", "b", "größe", "weird[1]"]),
        ("b", ["b"]),
        ("missing", []),
        ("missing/*", []),
        ("train", []),
        ("tr*/train-?", ["train/train-0", "train/train-1"]),
        ("*/*", ["train/train-0", "train/train-1"]),
        ("train/*/x-[0-9]", ["train/deep/x-1"]),
        ("weird[[]1]", ["weird[1]"]),
        (".h*", [".hidden"]),
        ("gr*e", ["größe"]),
    ],
)
def test_patterns_find_files_and_no_folders(filled: str, pattern: str, found: list[str]) -> None:
    assert storage.glob(f"{filled}/{pattern}") == [f"{filled}/{name}" for name in found]


def test_names_in_a_folder_and_below_it(filled: str) -> None:
    assert storage.list_dir(filled) == [".hidden", "a-1", "a-2", "b", "größe", "train", "weird[1]"]
    assert storage.list_dir(f"{filled}/train/") == ["deep", "train-0", "train-1"]
    assert storage.names_below(f"{filled}/train") == ["deep/", "deep/x-1", "train-0", "train-1"]
    assert storage.list_dir(f"{filled}/missing") == storage.list_dir(f"{filled}/b") == []
    assert "7 other names" in storage.nearest_names(f"{filled}/c-*")


def test_files_and_folders_are_told_apart(filled: str) -> None:
    assert [storage.exists(f"{filled}/{name}") for name in ("b", "train", "train/", "tra", "a")] == [
        True, True, True, False, False,
    ]  # fmt: skip
    assert [storage.is_dir(f"{filled}/{name}") for name in ("b", "train", "train/", "tra")] == [
        False, True, True, False,
    ]  # fmt: skip


def test_a_file_is_renamed_onto_another_and_files_and_folders_are_deleted(filled: str) -> None:
    storage.rename(f"{filled}/a-1", f"{filled}/b")
    assert storage.read_text(f"{filled}/b") == "a-1" and not storage.exists(f"{filled}/a-1")
    for name in ("b", "train", "missing"):
        storage.delete(f"{filled}/{name}")
    assert storage.list_dir(filled) == [".hidden", "a-2", "größe", "weird[1]"]


def test_bytes_can_be_read_from_anywhere(folder: str) -> None:
    content = bytes(range(256)) * (3 << 14)  # 12 MiB: more than is kept in memory, and than is read ahead
    with storage.written_whole(f"{folder}/x") as file:
        for part in (content[:5], content[5:]):
            file.write(part)
    with storage.open_binary(f"{folder}/x") as file:
        assert file.read(3) == content[:3] and file.tell() == 3
        file.seek(4 << 20)
        assert file.read(6 << 20) == content[4 << 20 : 10 << 20]
        file.seek(-7, io.SEEK_END)
        assert file.read(100) == content[-7:] and file.read(1) == b""
        file.seek(len(content) + 5)
        assert file.read(1) == b""
    storage.write_text(f"{folder}/empty", "")
    with storage.open_binary(f"{folder}/empty") as file:
        assert file.read() == b""


def test_what_is_missing_is_a_missing_file(folder: str) -> None:
    for ask in (storage.size, storage.read_text, storage.open_binary, storage.identity, storage.modified_ns):
        with pytest.raises(FileNotFoundError):
            ask(f"{folder}/missing")


def test_no_line_is_lost_where_several_append_at_once(folder: str) -> None:
    storage.make_dirs(folder)
    lines = {letter: letter * 300 for letter in "abc"}

    def append(letter: str) -> None:
        for _ in range(8):
            storage.append_line(f"{folder}/events.jsonl", lines[letter])

    threads = [threading.Thread(target=append, args=(letter,)) for letter in lines]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    written = storage.read_text(f"{folder}/events.jsonl").splitlines()
    assert sorted(written) == sorted([line for line in lines.values() for _ in range(8)])


def test_of_several_that_make_a_file_at_once_one_has_made_it(folder: str) -> None:
    storage.make_dirs(folder)
    made: list[str] = []

    def make(text: str) -> None:
        if storage.create_text(f"{folder}/lock", text):
            made.append(text)

    threads = [threading.Thread(target=make, args=(f"{number}",)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert made == [storage.read_text(f"{folder}/lock")]


def test_a_file_in_a_bucket_is_replaced_only_as_it_was_last_seen(bucket: str) -> None:
    path = f"{bucket}/lock"
    assert storage.create_text(path, "one")
    first = storage.identity(path)
    second = storage.replace_text(path, "two", known=first)
    assert second == storage.identity(path) != first
    assert storage.replace_text(path, "three", known=first) is None and storage.read_text(path) == "two"
    storage.delete(path)
    assert storage.replace_text(path, "four", known=str(second)) is None and not storage.exists(path)


def test_a_write_whose_answer_is_lost_counts_once(emulator: Emulator, bucket: str) -> None:
    emulator.lost_answers = 1
    assert storage.create_text(f"{bucket}/lock", "mine")
    for line in ("one", "two"):
        emulator.lost_answers = 1
        storage.append_line(f"{bucket}/lines", line)
    assert storage.read_text(f"{bucket}/lines") == "one\ntwo\n"


def test_a_rename_whose_last_answer_is_lost_is_done(emulator: Emulator, bucket: str) -> None:
    storage.write_text(f"{bucket}/old", "x")
    emulator.lost_deletes = 1
    storage.rename(f"{bucket}/old", f"{bucket}/new")
    assert emulator.lost_deletes == 0 and storage.names_below(bucket) == ["new"]


def test_a_reader_never_sees_two_versions_of_an_object_in_one(bucket: str) -> None:
    storage.write_text(f"{bucket}/x", "a" * (3 << 20))
    with storage.open_binary(f"{bucket}/x") as file:
        assert file.read(10) == b"a" * 10
        storage.write_text(f"{bucket}/x", "b" * (3 << 20))
        file.seek(2 << 20)
        with pytest.raises(OSError, match="written anew"):
            file.read()


def test_a_folder_that_tensorflow_made_is_none_by_itself(emulator: Emulator, bucket: str) -> None:
    emulator.ask("POST", f"/upload/storage/v1/b/{bucket[5:]}/o?uploadType=media&name=run%2F", {}, b"")
    assert storage.list_dir(bucket) == ["run"] and storage.list_dir(f"{bucket}/run") == []
    storage.delete(f"{bucket}/run")
    assert storage.list_dir(bucket) == []


def test_a_whole_bucket_is_never_emptied(bucket: str) -> None:
    storage.write_text(f"{bucket}/x", "kept")
    for path in (bucket, f"{bucket}/"):
        with pytest.raises(OSError, match="never emptied"):
            storage.delete(path)
    assert storage.list_dir(bucket) == ["x"]
