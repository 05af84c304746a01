"""How files become tasks, and tasks become rows."""

from __future__ import annotations

import dataclasses
import gzip
import os
import subprocess
import sys
from pathlib import Path

import pytest

from cvd_cluster.prediction.input_files import look_at
from cvd_cluster.prediction.piece_columns import REPORT, SCHEMA, PieceReport
from cvd_cluster.prediction.reading_plan import ReadingTask, is_complete, reading_tasks
from cvd_cluster.prediction.record_source import RecordSource, read_tables
from estimators import storage
from estimators.errors import DataError
from tests.estimators.drawn_records import write_file

RECORDS = [bytes([number]) * 100 for number in range(10)]


def _reports(tasks) -> list[tuple[int, int, int]]:
    found = []
    for task in tasks:
        for table in task():
            assert table.schema.equals(SCHEMA) and table.num_rows == 1
            report = PieceReport.from_json(table[REPORT][0].as_py())
            found.append((report.file, report.number, report.records))
    return found


def test_every_piece_is_a_row_whatever_ray_would_like(tmp_path):
    paths = [write_file(tmp_path / str(index), RECORDS[:count]) for index, count in enumerate((2, 0, 10))]
    files = [look_at(path, 500) for path in paths]
    tasks = RecordSource(files, reading_tasks(files, [{}, {}, {}])).get_read_tasks(parallelism=64)
    assert _reports(tasks) == [(0, 0, 2), (2, 0, 5), (2, 1, 4), (2, 2, 1)]


@pytest.mark.parametrize("finished", [set(), {0}, {1, 2}])
def test_what_is_finished_is_not_read_out_again(tmp_path, finished):
    path = write_file(tmp_path / "plain", RECORDS)
    (tmp_path / "packed").write_bytes(gzip.compress(Path(path).read_bytes()))
    files = [look_at(path, 500), look_at(str(tmp_path / "packed"), 500)]
    whole = _all_reports(files[1:])
    done = {number: whole[number] for number in finished}
    source = RecordSource(files, reading_tasks(files, [done, done]))
    expected = [(0, 5), (1, 4), (2, 1)]
    wanted = [(file, *pair) for file in (0, 1) for pair in expected if pair[0] not in finished]
    assert _reports(source.get_read_tasks(parallelism=1)) == wanted


def _all_reports(files) -> dict[int, PieceReport]:
    tables = [table for task in RecordSource(files, reading_tasks(files, [{}])).get_read_tasks(1) for table in task()]
    reports = [PieceReport.from_json(table[REPORT][0].as_py()) for table in tables]
    return {report.number: report for report in reports}


def test_a_packed_file_is_complete_when_its_last_piece_and_all_before_are_there(tmp_path):
    (tmp_path / "packed").write_bytes(gzip.compress(Path(write_file(tmp_path / "plain", RECORDS)).read_bytes()))
    file = look_at(str(tmp_path / "packed"), 500)
    whole = _all_reports([file])
    assert is_complete(file, whole) and not reading_tasks([file], [whole])
    for number in whole:
        assert not is_complete(file, {key: value for key, value in whole.items() if key != number})


def test_a_large_file_has_many_tasks_and_very_many_pieces_share_them(tmp_path):
    file = look_at(write_file(tmp_path / "plain", RECORDS), 1)
    tasks = reading_tasks([file], [{}])
    assert file.pieces == 1160 and len(tasks) == 290 and {len(task.pieces) for task in tasks} == {4}
    assert [piece.number for task in tasks for piece in task.pieces] == list(range(1160))


def test_a_file_that_vanished_or_was_written_anew_is_told(tmp_path):
    path = Path(write_file(tmp_path / "plain", RECORDS))
    file = look_at(str(path), 500)
    path.write_bytes(path.read_bytes())
    with pytest.raises(DataError, match="was written while it was read"):
        list(read_tables(file, ReadingTask(0, (file.piece(0, 0),))))
    path.unlink()
    with pytest.raises(DataError, match="cannot be read any more") as caught:
        list(read_tables(file, ReadingTask(0, (file.piece(0, 0),))))
    assert f"{path}: No such file" in caught.value.found


def test_a_file_that_grows_while_it_is_first_looked_at_is_told(tmp_path, monkeypatch):
    path = Path(write_file(tmp_path / "plain", RECORDS))
    looks: list[str] = []

    def grows_after_the_first(name, look):
        def looked(of: str) -> object:
            seen = look(of)
            looks.append(name)
            if len(looks) == 1:
                path.write_bytes(2 * path.read_bytes())
            return seen

        monkeypatch.setattr(storage, name, looked)

    for name in ("size", "identity", "modified_ns"):
        grows_after_the_first(name, getattr(storage, name))
    file = look_at(str(path))
    with pytest.raises(DataError, match="was written while it was read"):
        list(read_tables(file, ReadingTask(0, (file.piece(0, 0),))))


def test_a_file_has_another_inode_on_another_machine_and_is_watched_there_all_the_same(tmp_path):
    path = Path(write_file(tmp_path / "plain", RECORDS))
    seen = dataclasses.replace(look_at(str(path), 500), identity="an inode of the other machine", place="another boot")
    task = ReadingTask(0, (seen.piece(0, 0), seen.piece(0, 1)))
    assert len(list(read_tables(seen, task))) == 2
    tables = read_tables(seen, task)
    next(tables)
    path.write_bytes(path.read_bytes())
    os.utime(path, ns=(seen.modified_ns, seen.modified_ns))
    with pytest.raises(DataError, match="was written while it was read"):
        next(tables)
    assert len(list(read_tables(seen, task))) == 2, "what it was when the task began is all that is known there"
    os.utime(path, ns=(seen.modified_ns, seen.modified_ns + 1))
    with pytest.raises(DataError, match="was written while it was read"):
        list(read_tables(seen, task))


def test_a_reading_worker_does_not_import_tensorflow():
    code = "import sys, cvd_cluster.prediction.record_source; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
