"""How files become tables of records."""

from __future__ import annotations

import subprocess
import sys

import pytest

from cvd_cluster.prediction.record_source import SCHEMA, RecordSource, read_tables
from cvd_cluster.prediction.shards import Shard
from estimators.tfrecord_framing import DamagedRecordError
from tests.estimators.drawn_records import cut, flip, offset_of, write_file

RECORDS = [bytes([number]) * 100 for number in range(10)]


def _tables(path: str, size: int) -> list[dict[str, list[object]]]:
    tables = list(read_tables(7, path, table_bytes=size))
    assert all(table.schema.equals(SCHEMA) for table in tables)
    return [table.to_pydict() for table in tables]


def test_every_row_knows_its_file_and_its_number_in_it(tmp_path):
    tables = _tables(write_file(tmp_path / "shard", RECORDS), size=350)
    assert [table["row"] for table in tables] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert {shard for table in tables for shard in table["shard"]} == {7}
    assert [record for table in tables for record in table["record"]] == RECORDS


def test_a_table_ends_with_the_record_that_makes_it_large_enough(tmp_path):
    path = write_file(tmp_path / "shard", [b"small", b"x" * 1000, b"small too", b""])
    assert [table["row"] for table in _tables(path, size=500)] == [[0, 1], [2, 3]]


@pytest.mark.parametrize("damage", [lambda path, at: flip(path, at + 20), lambda path, at: cut(path, at + 30)])
def test_damage_is_told_with_file_and_offset_after_what_is_before_it(tmp_path, damage):
    path, offset = write_file(tmp_path / "shard", RECORDS), offset_of(RECORDS[:5])
    damage(path, offset)
    tables = read_tables(0, path, table_bytes=400)
    assert next(tables).num_rows == 4
    with pytest.raises(DamagedRecordError, match=f"at byte {offset}") as caught:
        next(tables)
    assert path in str(caught.value)


def test_each_file_with_records_is_one_task_that_keeps_its_index(tmp_path):
    paths = [write_file(tmp_path / str(index), RECORDS[:count]) for index, count in enumerate((2, 0, 3))]
    shards = [Shard(path, count, 10) for path, count in zip(paths, (2, 0, 3), strict=True)]
    tasks = RecordSource(shards).get_read_tasks(parallelism=64)
    tables = [table.to_pydict() for task in tasks for table in task()]
    assert [(table["shard"], table["row"]) for table in tables] == [([0, 0], [0, 1]), ([2, 2, 2], [0, 1, 2])]


def test_a_reading_worker_does_not_import_tensorflow():
    code = "import sys, cvd_cluster.prediction.record_source; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
