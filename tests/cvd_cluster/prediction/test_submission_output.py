"""New results take the place of older ones whole, or the older ones stay."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from cvd_cluster.prediction import submission_output
from cvd_cluster.prediction.bad_records import quarantine
from cvd_cluster.prediction.files_beside import quarantine_path
from cvd_cluster.prediction.submission_output import (
    csv_output,
    json_output,
    jsonl_output,
    parquet_output,
    restore_replaced,
)
from estimators import storage
from estimators.errors import DataError
from estimators.submission.json_results import require_all_shards
from estimators.submission.prediction_columns import SCHEMA

SHARDS = 3


def _contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def _write(folder: Path, image_id: str) -> None:
    row = pa.Table.from_pylist([{"image_id": image_id, "class_indexes": [1], "predictions": [1.0]}], SCHEMA)
    with json_output(str(folder), SHARDS) as write:
        for shard in range(SHARDS):
            write(shard, row)


def _fails_at(number: int, monkeypatch: pytest.MonkeyPatch, *, killed: bool) -> None:
    """The disk refuses a move of results, or the process ends there."""
    rename, moves = storage.rename, 0

    def counted(source: str, target: str) -> None:
        nonlocal moves
        moves += 1
        if moves == number and killed:
            os._exit(9)
        if moves == number:
            raise OSError("no more")
        rename(source, target)

    monkeypatch.setattr(storage, "rename", counted)


FORMS: dict[str, Any] = {
    "csv": lambda path, ready: csv_output(path, "category", 1, ready=ready),
    "jsonl": lambda path, ready: jsonl_output(path, ready=ready),
    "parquet": lambda path, ready: parquet_output(path, ready=ready),
    "json": lambda path, ready: json_output(path, 1, ready=ready),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("listed", [True, False])
def test_an_output_that_cannot_be_finished_leaves_the_older_one_and_its_list(tmp_path, monkeypatch, form, listed):
    path = str(tmp_path / "out")
    row = pa.Table.from_pylist([{"image_id": "1.jpg", "class_indexes": [1], "predictions": [1.0]}], SCHEMA)

    def write(bad_records: bool) -> None:
        with quarantine(path) as bad, FORMS[form](path, bad.publish) as write:
            write(0, row)
            if bad_records:
                bad.write(b"a bad record\n")

    def everything() -> dict[Path, bytes]:
        return {one: one.read_bytes() for one in tmp_path.rglob("*") if one.is_file()}

    write(True)
    older = everything()
    assert quarantine_path(path) in map(str, older)
    sync = os.fsync

    def full(descriptor: int) -> None:
        if "quarantine" not in os.readlink(f"/proc/self/fd/{descriptor}"):
            raise OSError("no room")
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="no room"):
        write(listed)
    monkeypatch.undo()
    assert everything() == older
    replace = os.replace

    def refuse(source: str, target: str) -> None:
        if "quarantine" not in os.path.basename(target):
            raise OSError("no room")
        replace(source, target)

    monkeypatch.setattr(os, "replace", refuse)  # when the list is published
    with pytest.raises(OSError, match="no room"):
        write(listed)
    monkeypatch.undo()
    assert everything() == older
    write(False)
    assert quarantine_path(path) not in map(str, everything()), "there is nothing to list any more"


@pytest.mark.parametrize("trouble", [OSError("busy"), SystemExit(143)])
def test_what_goes_wrong_when_the_new_results_are_there_takes_no_list_from_them(tmp_path, monkeypatch, trouble):
    path = str(tmp_path / "out")

    def write(line: bytes) -> None:
        with quarantine(path) as bad, json_output(path, 1, ready=bad.publish, done=bad.keep):
            bad.write(line)

    write(b"old\n")
    delete = storage.delete

    def refuse(deleted: str) -> None:
        if os.path.isdir(deleted):
            raise trouble
        delete(deleted)

    monkeypatch.setattr(storage, "delete", refuse)
    with contextlib.suppress(SystemExit):
        write(b"new\n")
    assert Path(quarantine_path(path)).read_bytes().endswith(b"new\n")


@pytest.mark.parametrize("move", range(1, 2 * SHARDS + 1))
def test_a_signal_just_after_a_move_keeps_the_older_results(tmp_path, monkeypatch, move):
    _write(tmp_path, "old")
    older, rename, moves = _contents(tmp_path), storage.rename, 0

    def then_a_signal(source: str, target: str) -> None:
        nonlocal moves
        moves += 1
        rename(source, target)
        if moves == move:
            raise SystemExit(143)

    monkeypatch.setattr(storage, "rename", then_a_signal)
    with pytest.raises(SystemExit):
        _write(tmp_path, "new")
    assert _contents(tmp_path) == older


@pytest.mark.parametrize("move", range(1, 2 * SHARDS + 1))
def test_a_disk_that_refuses_a_move_keeps_the_older_results(tmp_path, monkeypatch, move):
    _write(tmp_path, "old")
    older = _contents(tmp_path)
    _fails_at(move, monkeypatch, killed=False)
    with pytest.raises(OSError, match="no more"):
        _write(tmp_path, "new")
    assert _contents(tmp_path) == older and len(list(tmp_path.iterdir())) == SHARDS


def test_a_disk_that_refuses_to_move_them_back_too_keeps_them_for_the_next_run(tmp_path, monkeypatch):
    _write(tmp_path, "old")
    older = _contents(tmp_path)
    rename, moves = storage.rename, 0

    def refused_from_the_fifth_on(source: str, target: str) -> None:
        nonlocal moves
        moves += 1
        if moves >= 5:
            raise OSError("no more")
        rename(source, target)

    monkeypatch.setattr(storage, "rename", refused_from_the_fifth_on)
    with pytest.raises(OSError, match="no more"):
        _write(tmp_path, "new")
    monkeypatch.undo()
    assert _contents(tmp_path) != older
    restore_replaced(str(tmp_path))
    assert _contents(tmp_path) == older


@pytest.mark.parametrize("first", range(SHARDS + 1, 2 * SHARDS + 1))
@pytest.mark.parametrize("second", range(1, 2 * SHARDS))
def test_a_kill_while_older_results_come_back_loses_none_of_them(tmp_path, monkeypatch, first, second):
    _write(tmp_path, "old")
    older = _contents(tmp_path)
    for kill, work in ((first, lambda: _write(tmp_path, "new")), (second, lambda: restore_replaced(str(tmp_path)))):
        child = os.fork()
        if child == 0:
            _fails_at(kill, monkeypatch, killed=True)
            work()
            os._exit(9)  # it had fewer moves to make
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    restore_replaced(str(tmp_path))
    assert _contents(tmp_path) == older


@pytest.mark.parametrize("move", range(2, 2 * SHARDS + 1))
def test_a_process_that_is_killed_while_it_moves_never_leaves_a_mixture_of_two_models(tmp_path, monkeypatch, move):
    _write(tmp_path, "old")
    child = os.fork()
    if child == 0:
        _fails_at(move, monkeypatch, killed=True)
        _write(tmp_path, "new")
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    left = _contents(tmp_path)
    assert len(set(left.values())) <= 1 and len(left) < SHARDS
    if left:
        with pytest.raises(DataError, match="missing"):
            require_all_shards([str(tmp_path / name) for name in left], flag="json_prediction_files_pattern")
    # As the next run does.
    restore_replaced(str(tmp_path))
    assert len(_contents(tmp_path)) == SHARDS and all(b"old" in one for one in _contents(tmp_path).values())
    storage.delete_partials_of(submission_output.results_prefix(str(tmp_path)))
    monkeypatch.undo()
    _write(tmp_path, "new")
    assert len(_contents(tmp_path)) == SHARDS and all(b"new" in one for one in _contents(tmp_path).values())
