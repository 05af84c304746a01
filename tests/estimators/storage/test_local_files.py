from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from estimators import storage


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("b-1", "a-2", "a-1"):
        (tmp_path / name).write_text(name)
    (tmp_path / "a-folder").mkdir()
    return tmp_path


def fail_midway(path: str) -> None:
    with storage.written_whole(path) as file:
        file.write(b"half of the n")
        raise RuntimeError("midway")


def test_glob_finds_files_sorted_and_no_folders(folder: Path) -> None:
    assert storage.glob(f"{folder}/a-*") == [f"{folder}/a-1", f"{folder}/a-2"]


def test_commas_separate_patterns_and_a_file_that_matches_twice_is_listed_once(folder: Path) -> None:
    assert storage.glob(f"{folder}/b-*, {folder}/a-1,,{folder}/?-1") == [f"{folder}/a-1", f"{folder}/b-1"]


def test_glob_of_nothing_is_empty(folder: Path) -> None:
    assert storage.glob(f"{folder}/c-*") == [] and storage.glob(" , ") == [] and storage.glob(str(folder)) == []


def test_glob_knows_the_home_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(folder))
    assert storage.glob("~/b-*") == [f"{folder}/b-1"]
    assert "4 other names" in storage.nearest_names("~/c-*")


def test_list_dir_is_sorted_and_empty_where_there_is_no_folder(folder: Path) -> None:
    assert storage.list_dir(str(folder)) == ["a-1", "a-2", "a-folder", "b-1"]
    assert storage.list_dir(f"{folder}/missing") == [] and storage.list_dir(f"{folder}/a-1") == []


def test_a_block_that_fails_leaves_the_old_file_and_no_neighbour(tmp_path: Path) -> None:
    target = tmp_path / "result.csv"
    target.write_text("old")
    with pytest.raises(RuntimeError, match="midway"):
        fail_midway(str(target))
    assert target.read_text() == "old" and os.listdir(tmp_path) == ["result.csv"]


def test_the_file_is_not_there_before_the_block_ends(tmp_path: Path) -> None:
    target = tmp_path / "result.csv"
    with storage.written_whole(str(target)) as file:
        file.write(b"new")
        assert not target.exists()
        (neighbour,) = os.listdir(tmp_path)
        assert storage.is_hidden_partial(neighbour) and storage.glob(f"{tmp_path}/*") == []
    assert target.read_bytes() == b"new" and os.listdir(tmp_path) == ["result.csv"]


def test_a_writer_that_is_killed_midway_leaves_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "result.csv"
    target.write_text("old")
    code = (
        "import os, signal, sys; from estimators import storage\n"
        "with storage.written_whole(sys.argv[1]) as file:\n"
        "    file.write(b'x' * 100_000); file.flush(); os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(target)], cwd=Path(__file__).parents[3], check=False)
    assert done.returncode == -signal.SIGKILL
    assert target.read_text() == "old"
    assert [name for name in os.listdir(tmp_path) if not storage.is_hidden_partial(name)] == ["result.csv"]
    (tmp_path / ".other.csv.12345678.partial").write_text("of another file")
    assert len(os.listdir(tmp_path)) == 3
    storage.delete_partials_of(str(target))
    assert sorted(os.listdir(tmp_path)) == [".other.csv.12345678.partial", "result.csv"]


def test_two_writers_of_one_name_do_not_mix(tmp_path: Path) -> None:
    target = str(tmp_path / "state.json")
    texts = [letter * 50_000 for letter in "abcd"]

    def write(text: str) -> None:
        for _ in range(10):
            storage.write_text(target, text)

    threads = [threading.Thread(target=write, args=(text,)) for text in texts]
    for thread in threads:
        thread.start()
    seen = {storage.read_text(target) for _ in range(50) if storage.exists(target)}
    for thread in threads:
        thread.join()
    assert (seen | {storage.read_text(target)}) <= set(texts) and os.listdir(tmp_path) == ["state.json"]


def test_lines_of_several_writers_stay_whole(tmp_path: Path) -> None:
    target = str(tmp_path / "events.jsonl")
    lines = {letter: letter * 3000 for letter in "abc"}

    def append(letter: str) -> None:
        for _ in range(50):
            storage.append_line(target, lines[letter])

    threads = [threading.Thread(target=append, args=(letter,)) for letter in lines]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    written = storage.read_text(target).splitlines()
    assert sorted(written) == sorted([line for line in lines.values() for _ in range(50)])


def test_rename_replaces_a_file(folder: Path) -> None:
    storage.rename(f"{folder}/a-1", f"{folder}/b-1")
    assert (folder / "b-1").read_text() == "a-1" and not (folder / "a-1").exists()


def test_delete_takes_files_whole_folders_and_what_is_not_there(folder: Path) -> None:
    (folder / "a-folder" / "inner").mkdir()
    for name in ("a-1", "a-folder", "missing"):
        storage.delete(f"{folder}/{name}")
    assert storage.list_dir(str(folder)) == ["a-2", "b-1"]


def test_delete_of_a_link_leaves_what_it_points_to(folder: Path) -> None:
    (folder / "a-folder" / "kept").write_text("kept")
    (folder / "link").symlink_to(folder / "a-folder")
    storage.delete(f"{folder}/link")
    assert not (folder / "link").exists() and (folder / "a-folder" / "kept").exists()


def test_nearest_names_help_to_see_a_typing_mistake(folder: Path) -> None:
    assert storage.nearest_names(f"{folder}/c-*") == f"the folder {folder} holds 4 other names: a-1, a-2, a-folder, …"
    assert storage.nearest_names(f"{folder}/missing/*") == f"the folder {folder}/missing does not exist"
    assert storage.nearest_names(f"{folder}/a-folder/*") == f"the folder {folder}/a-folder is empty"


def test_only_a_scheme_makes_a_path_remote() -> None:
    assert storage.is_remote("gs://bucket/x") and not storage.is_remote("/tmp/x:y") and not storage.is_remote("x")


def test_the_identity_of_a_file_changes_when_it_is_written_even_to_the_same_size_and_time(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"before")
    status, before = path.stat(), storage.identity(str(path))
    assert storage.identity(str(path)) == before
    path.write_bytes(b"behind")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (status.st_size, status.st_mtime_ns)
    assert storage.identity(str(path)) != before
