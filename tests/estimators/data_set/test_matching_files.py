"""What a pattern matches is all there is, or it is told."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from estimators import storage
from estimators.data_set.matching_files import matching_files
from estimators.errors import HarnessError


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    for name in ("a/test-0", "a/.hidden", "b/test-1", "b/other", "b/part/test-2"):
        path = tmp_path / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    return tmp_path / "data"


@pytest.mark.parametrize("number", [errno.EACCES, errno.EIO])
@pytest.mark.parametrize("pattern", ["*/test-*", "b/*", "?/*", "*/test-1"])
def test_a_folder_that_cannot_be_listed_is_told_and_not_passed_over(
    shards: Path, monkeypatch: pytest.MonkeyPatch, pattern: str, number: int
) -> None:
    def refused(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(path: Any = ".", **more: Any) -> Any:
            if os.fspath(path).startswith(f"{shards}/b"):
                raise OSError(number, os.strerror(number), path)
            return real(path, **more)

        return call

    for name in ("listdir", "lstat", "scandir"):
        monkeypatch.setattr(os, name, refused(getattr(os, name)))
    with pytest.raises(HarnessError, match="What matches --input_data_pattern cannot be listed") as caught:
        matching_files(f"{shards}/{pattern}", flag="input_data_pattern")
    assert caught.value.exit_code == (3 if number == errno.EIO else 2) and f"{shards}/b" in caught.value.found


@pytest.mark.parametrize(
    ("pattern", "files", "folders"),
    [
        ("*/*", ["a/test-0", "b/other", "b/test-1"], ["b/part"]),
        ("[ab]/test-?", ["a/test-0", "b/test-1"], []),
        ("a/.*", ["a/.hidden"], []),
        ("*/part/*", ["b/part/test-2"], []),
        ("*/test-1", ["b/test-1"], []),
        ("*", [], ["a", "b"]),
        ("b", [], ["b"]),
        ("c/*", [], []),
        ("b/other/*", [], []),
    ],
)
def test_files_and_folders_that_match(shards: Path, pattern: str, files: list[str], folders: list[str]) -> None:
    assert storage.glob(f"{shards}/{pattern}") == [f"{shards}/{name}" for name in files]
    assert storage.matching_folders(f"{shards}/{pattern}") == [f"{shards}/{name}" for name in folders]


def test_what_a_disk_has_of_its_own_and_links_to_nothing_stop_nobody(shards: Path) -> None:
    (shards / "lost+found").mkdir(mode=0)
    (shards / "loop").symlink_to("loop")
    (shards / "gone").symlink_to("nothing")
    assert storage.glob(f"{shards}/*/test-*") == [f"{shards}/a/test-0", f"{shards}/b/test-1"]
    assert storage.matching_folders(f"{shards}/*") == [f"{shards}/a", f"{shards}/b"]


def test_a_relative_pattern_gives_relative_paths(shards: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(shards / "a")
    assert storage.glob("*") == ["test-0"] and storage.glob("../*/test-1") == ["../b/test-1"]
