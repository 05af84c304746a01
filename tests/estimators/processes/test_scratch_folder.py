from __future__ import annotations

import os
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from estimators.errors import UserError
from estimators.processes.scratch_folder import make_scratch_folder, scratch_folder

PROGRAM = """
import sys
from estimators.processes.scratch_folder import make_scratch_folder
print(make_scratch_folder("other", parent=sys.argv[1]), flush=True)
input()
"""


def test_a_folder_is_there_for_the_block_and_for_this_user_alone() -> None:
    with scratch_folder("chief-0") as folder:
        assert os.path.basename(folder).startswith("cvd-chief-0-")
        assert stat.S_IMODE(os.stat(folder).st_mode) == 0o700
        Path(folder, "x").write_text("x")
    assert not os.path.exists(folder)
    with pytest.raises(RuntimeError, match="midway"), scratch_folder("chief-0") as folder:
        raise RuntimeError("midway")
    assert not os.path.exists(folder)


def test_a_place_for_temporary_files_that_cannot_be_used_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="temporary file cannot be written") as caught:
        make_scratch_folder("x", parent=str(tmp_path / "none"))
    assert "none" in caught.value.found and "TMPDIR" in caught.value.change


def test_what_a_killed_process_left_goes_with_a_later_start_and_nothing_else(tmp_path: Path) -> None:
    for name in ("cvd-notes", "thesis"):
        (tmp_path / name).mkdir()
    mine = make_scratch_folder("mine", parent=str(tmp_path))
    other = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(tmp_path)],
        cwd=Path(__file__).parents[3],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert other.stdout is not None
    theirs = other.stdout.readline().strip()
    second = make_scratch_folder("mine", parent=str(tmp_path))
    assert os.path.isdir(theirs), "its process lives"
    other.kill()
    other.communicate()
    for _ in range(2):
        third = make_scratch_folder("mine", parent=str(tmp_path))
        assert os.path.isdir(theirs), "its children may still be at work"
    os.utime(f"{theirs}/abandoned", (time.time() - 120, time.time() - 120))
    fourth = make_scratch_folder("mine", parent=str(tmp_path))
    left = {str(path) for path in tmp_path.iterdir() if (path / "owner.json").exists()}
    assert left >= {mine, second, third, fourth} and theirs not in left
    assert (tmp_path / "cvd-notes").is_dir() and (tmp_path / "thesis").is_dir()
