"""How files become blocks of records."""

from __future__ import annotations

import subprocess
import sys

import pytest

from cvd_cluster.prediction.record_source import SCHEMA, RecordSource, read_blocks
from cvd_cluster.prediction.shards import Shard
from estimators.tfrecord_framing import DamagedRecordError
from tests.estimators.drawn_records import cut, flip, offset_of, write_file

RECORDS = [bytes([number]) * 100 for number in range(10)]


def _blocks(path: str, rows: int = 4, size: int = 1 << 20) -> list[dict[str, list[object]]]:
    tables = list(read_blocks(7, path, rows_per_block=rows, bytes_per_block=size))
    assert all(table.schema.equals(SCHEMA) for table in tables)
    return [table.to_pydict() for table in tables]


def test_every_row_knows_its_file_and_its_number_in_it(tmp_path):
    blocks = _blocks(write_file(tmp_path / "shard", RECORDS))
    assert [block["row"] for block in blocks] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert {shard for block in blocks for shard in block["shard"]} == {7}
    assert [record for block in blocks for record in block["record"]] == RECORDS


def test_a_block_is_bounded_in_bytes_too(tmp_path):
    blocks = _blocks(write_file(tmp_path / "shard", RECORDS), rows=256, size=350)
    assert [len(block["row"]) for block in blocks] == [3, 3, 3, 1]


def test_a_record_larger_than_a_block_gets_one_of_its_own(tmp_path):
    path = write_file(tmp_path / "shard", [b"small", b"x" * 1000, b"small too"])
    assert [block["row"] for block in _blocks(path, size=500)] == [[0], [1], [2]]


@pytest.mark.parametrize("damage", [lambda path, at: flip(path, at + 20), lambda path, at: cut(path, at + 30)])
def test_damage_is_told_with_file_and_offset_after_the_blocks_before_it(tmp_path, damage):
    path, offset = write_file(tmp_path / "shard", RECORDS), offset_of(RECORDS[:5])
    damage(path, offset)
    blocks = read_blocks(0, path, rows_per_block=4, bytes_per_block=1 << 20)
    assert next(blocks).num_rows == 4
    with pytest.raises(DamagedRecordError, match=f"at byte {offset}") as caught:
        next(blocks)
    assert path in str(caught.value)


def test_each_file_with_records_is_one_task_that_keeps_its_index(tmp_path):
    paths = [write_file(tmp_path / str(index), RECORDS[:count]) for index, count in enumerate((2, 0, 3))]
    shards = [Shard(path, count, 10) for path, count in zip(paths, (2, 0, 3), strict=True)]
    tasks = RecordSource(shards, rows_per_block=256, bytes_per_block=1 << 20).get_read_tasks(parallelism=64)
    tables = [table.to_pydict() for task in tasks for table in task()]
    assert [(table["shard"], table["row"]) for table in tables] == [([0, 0], [0, 1]), ([2, 2, 2], [0, 1, 2])]


def test_a_reading_worker_does_not_import_tensorflow():
    code = "import sys, cvd_cluster.prediction.record_source; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
