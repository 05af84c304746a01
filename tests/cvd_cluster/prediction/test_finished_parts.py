"""What is finished is found again; what is of another model, file or option, or is broken, never is."""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path

import pytest

from cvd_cluster.prediction.finished_parts import FinishedParts, parts_folder
from estimators import storage
from estimators.errors import UserError
from tests.cvd_cluster.prediction.made_parts import MADE_WITH, all_parts, look_at_all
from tests.estimators.drawn_records import write_file

IDS = [b"%d.jpg" % number for number in range(30)]


@pytest.fixture
def paths(tmp_path: Path) -> list[str]:
    return [write_file(tmp_path / name, IDS[begin : begin + 10]) for begin, name in ((0, "a"), (10, "b"))]


def _again(folder: Path, paths: list[str], made_with: dict[str, object] = MADE_WITH, size: int = 60) -> list[int]:
    """How many parts of each file a second run finds."""
    return [len(parts) for parts in FinishedParts(str(folder), look_at_all(paths, size), made_with).of_file]


def test_all_parts_are_found_again_with_what_is_to_be_known_of_them(tmp_path, paths):
    files, parts = all_parts(tmp_path / "parts", paths, 60)
    again = FinishedParts(str(tmp_path / "parts"), files, MADE_WITH)
    assert again.of_file == parts.of_file and again.rows == 20
    assert [again.read(1, number).equals(parts.read(1, number)) for number in parts.of_file[1]] == [True] * 4


def test_files_may_join_and_leave_between_runs(tmp_path, paths):
    all_parts(tmp_path / "parts", paths[1:], 60)
    assert _again(tmp_path / "parts", paths) == [0, 4]


CHANGES = {
    "another model": lambda path: (MADE_WITH | {"model": "another"}, 60),
    "another batch size": lambda path: (MADE_WITH | {"batch_size": 64}, 60),
    "pieces of another size": lambda path: (MADE_WITH, 80),
}


@pytest.mark.parametrize("change", CHANGES)
def test_nothing_is_used_that_was_made_otherwise(tmp_path, paths, change):
    all_parts(tmp_path / "parts", paths, 60)
    made_with, size = CHANGES[change](paths)
    assert _again(tmp_path / "parts", paths, made_with, size) == [0, 0]
    assert list((tmp_path / "parts").iterdir()) == []


def test_nothing_is_used_of_a_file_that_was_written_since_even_if_size_and_time_are_the_same(tmp_path, paths):
    all_parts(tmp_path / "parts", paths, 60)
    before = os.stat(paths[0])
    data = bytearray(Path(paths[0]).read_bytes())
    data[14] ^= 1
    with open(paths[0], "r+b") as file:
        file.write(data)
    os.utime(paths[0], ns=(before.st_atime_ns, before.st_mtime_ns))
    after = os.stat(paths[0])
    assert (after.st_size, after.st_mtime_ns, after.st_ino) == (before.st_size, before.st_mtime_ns, before.st_ino)
    assert _again(tmp_path / "parts", paths) == [0, 4]


def test_a_part_that_was_cut_off_is_made_anew(tmp_path, paths):
    all_parts(tmp_path / "parts", paths, 60)
    first, second, *_ = sorted((tmp_path / "parts").iterdir())
    first.write_bytes(first.read_bytes()[:-20])
    second.write_bytes(b"")
    (tmp_path / "parts" / f".{first.name}.abc.partial").write_bytes(b"left by a killed run")
    (tmp_path / "parts" / "notes.txt").write_text("of somebody else")
    assert sum(_again(tmp_path / "parts", paths)) == 6
    left = sorted(path.name for path in (tmp_path / "parts").iterdir())
    assert len(left) == 7 and "notes.txt" in left


def test_a_part_with_a_byte_that_rotted_is_made_anew(tmp_path, paths):
    files, _ = all_parts(tmp_path / "parts", paths, 60)
    part = min((tmp_path / "parts").iterdir())
    whole = part.read_bytes()
    for place in range(0, len(whole), 11):
        part.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        FinishedParts(str(tmp_path / "parts"), files, MADE_WITH)
        assert not part.exists()


def test_a_disk_that_fails_while_a_part_is_looked_at_costs_no_part(tmp_path, paths, monkeypatch):
    files, parts = all_parts(tmp_path / "parts", paths, 60)
    before = sorted((tmp_path / "parts").iterdir())

    def fail(*arguments: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(storage, "open_binary", fail)
    with pytest.raises(OSError, match="Input/output error"):
        FinishedParts(str(tmp_path / "parts"), files, MADE_WITH)
    monkeypatch.undo()
    assert sorted((tmp_path / "parts").iterdir()) == before
    assert FinishedParts(str(tmp_path / "parts"), files, MADE_WITH).of_file == parts.of_file


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_no_other_run(tmp_path, monkeypatch, number):
    def refuse(*arguments: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refuse)
    lines: list[str] = []
    with parts_folder(str(tmp_path / "out.csv"), flag="output_file", announce=lines.append) as folder:
        assert os.path.isdir(folder) and "no other run" in lines[0]


def test_two_runs_cannot_work_on_one_output(tmp_path):
    output = str(tmp_path / "out.csv")
    with parts_folder(output, flag="output_file") as folder:
        with pytest.raises(UserError, match="Another run is at work"), parts_folder(output, flag="output_file"):
            pass
        assert Path(folder).is_dir()
    assert not Path(folder).exists()


def test_the_folder_stays_while_it_holds_a_part(tmp_path):
    output = str(tmp_path / "out.csv")
    with parts_folder(output, flag="output_file") as folder:
        (Path(folder) / "part").write_text("")
    assert (Path(folder) / "part").exists()
    with parts_folder(output, flag="output_file"):
        (Path(folder) / "part").unlink()
    assert not Path(folder).exists()
