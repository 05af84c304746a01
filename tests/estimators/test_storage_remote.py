"""Paths with a scheme go through TensorFlow; `ram://` is the one it can serve without a network."""

from __future__ import annotations

import uuid

import pytest

from estimators import storage


def fail_midway(path: str) -> None:
    with storage.written_whole(path) as file:
        file.write(b"half")
        raise RuntimeError("midway")


@pytest.fixture
def folder() -> str:
    path = f"ram://{uuid.uuid4().hex}"
    storage.make_dirs(path)
    return path


def test_a_text_comes_back_and_replaces_an_older_one(folder: str) -> None:
    storage.write_text(f"{folder}/state.json", "old")
    storage.write_text(f"{folder}/state.json", "nü")
    assert storage.read_text(f"{folder}/state.json") == "nü"
    assert storage.list_dir(folder) == ["state.json"] and storage.size(f"{folder}/state.json") == 3


def test_a_block_that_fails_leaves_the_old_file(folder: str) -> None:
    storage.write_text(f"{folder}/result", "old")
    with pytest.raises(RuntimeError, match="midway"):
        fail_midway(f"{folder}/result")
    assert storage.read_text(f"{folder}/result") == "old" and storage.list_dir(folder) == ["result"]


def test_lines_are_appended(folder: str) -> None:
    for line in ("one", "two"):
        storage.append_line(f"{folder}/log", line)
    assert storage.read_text(f"{folder}/log") == "one\ntwo\n"


def test_glob_and_delete(folder: str) -> None:
    for name in ("a-2", "a-1", "b"):
        storage.write_text(f"{folder}/{name}", name)
    assert storage.glob(f"{folder}/a-*,{folder}/b") == [f"{folder}/a-1", f"{folder}/a-2", f"{folder}/b"]
    storage.delete(f"{folder}/a-1")
    storage.delete(f"{folder}/missing")
    assert not storage.exists(f"{folder}/a-1")
    storage.delete(folder)
    assert storage.glob(f"{folder}/*") == []


def test_bytes_can_be_read_from_the_middle(folder: str) -> None:
    storage.write_text(f"{folder}/x", "0123456789")
    with storage.open_binary(f"{folder}/x") as file:
        file.seek(4)
        assert file.read(3) == b"456" and file.tell() == 7
