"""The first bytes of the input are in memory before a reader asks for them."""

from __future__ import annotations

import ctypes
import mmap
import os
import time
from pathlib import Path

import numpy as np
import pytest

from cvd_cluster.prediction import reading_ahead
from cvd_cluster.prediction.input_files import look_at
from cvd_cluster.prediction.reading_ahead import read_ahead
from cvd_cluster.prediction.reading_plan import reading_tasks

_MIB = 1 << 20


def pages_in_memory(path: Path) -> list[bool]:
    """Which pages of the file the kernel holds; see mincore(2)."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as mapped:
        pages = -(-len(mapped) // mmap.PAGESIZE)
        found = (ctypes.c_ubyte * pages)()
        array = np.frombuffer(mapped, np.uint8)
        libc = ctypes.CDLL(None, use_errno=True)
        failed = libc.mincore(ctypes.c_void_p(array.ctypes.data), ctypes.c_size_t(len(mapped)), found)
        assert not failed, os.strerror(ctypes.get_errno())
        del array
        return [bool(page & 1) for page in found]


def on_disk_alone(path: Path, size: int) -> Path:
    path.write_bytes(os.urandom(size))
    with path.open("rb+") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    if any(pages_in_memory(path)):
        pytest.skip(f"the file system of {path} keeps files in memory")
    return path


def test_what_is_read_first_comes_into_memory_up_to_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading_ahead, "_MOST_BYTES", 12 * _MIB)
    paths = [on_disk_alone(tmp_path / str(index), 8 * _MIB) for index in range(3)]
    files = [look_at(str(path), _MIB) for path in paths]
    tasks = reading_tasks(files, [{}, {}, {}])
    for path in paths:  # `look_at` has read a page
        on_disk_alone(path, 8 * _MIB)
    read_ahead(files, tasks)
    until = time.monotonic() + 30
    half = 4 * _MIB // mmap.PAGESIZE
    while not (all(pages_in_memory(paths[0])) and all(pages_in_memory(paths[1])[:half])):
        assert time.monotonic() < until, "it never came"
        time.sleep(0.05)
    assert not any(pages_in_memory(paths[2])), "beyond the limit"


def test_a_file_that_is_gone_is_left_to_its_reader(tmp_path: Path) -> None:
    (tmp_path / "gone").write_bytes(bytes(100))
    files = [look_at(str(tmp_path / "gone"))]
    (tmp_path / "gone").unlink()
    reading_ahead._ask(list(reading_ahead._ranges(files, reading_tasks(files, [{}]))))
