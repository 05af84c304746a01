"""How far Ray Data reads ahead of a slow consumer."""

from __future__ import annotations

import contextlib
import gzip
import re
import time
from pathlib import Path

import pytest
from ray._private.internal_api import memory_summary

from cvd_cluster.prediction import lean_ray_data
from cvd_cluster.prediction.input_files import PIECE_BYTES, look_at
from cvd_cluster.prediction.reading_plan import reading_tasks
from cvd_cluster.prediction.record_blocks import record_blocks
from cvd_cluster.ray_session import ray_session
from estimators.records.tfrecord_framing import framed

RECORD = framed(b"x" * (1 << 20))
STORE_MIB = 512


def _mebibytes(what: str) -> int:
    found = re.search(rf"{what}:? (\d+) MiB", memory_summary(stats_only=True))
    return int(found[1]) if found else 0


def test_no_rest_of_ray_data_is_longer_than_until_the_next_block_is_wished_for(tmp_path, monkeypatch):
    # Long enough to be seen: 0.1 s, when it was not ended, were the measure of how much a large machine could predict.
    monkeypatch.setattr(lean_ray_data, "_LONG_REST_SECONDS", 20.0)
    paths = [tmp_path / f"shard-{index}" for index in range(6)]
    for path in paths:
        path.write_bytes(RECORD * 4)
    files = [look_at(str(path), 1 << 20) for path in paths]
    with ray_session(cpus_needed=2, announce=print):
        blocks = record_blocks(files, reading_tasks(files, [{}] * 6), num_readers=1, reader_cpus=1.0, own_ray=True)
        begun = time.monotonic()
        with contextlib.closing(blocks):
            taken = 0
            for _ in blocks:
                taken += 1
                time.sleep(0.3)  # the reader is ahead
        assert taken >= 6 and time.monotonic() - begun < 20.0 * taken / 2


@pytest.mark.slow
def test_a_packed_file_is_not_unpacked_far_ahead_of_who_takes_its_records(tmp_path: Path) -> None:
    path, records = tmp_path / "large.gz", 1200
    with gzip.open(path, "wb", compresslevel=1) as file:
        for _ in range(records):
            file.write(RECORD)
    files = [look_at(str(path))]
    with ray_session(cpus_needed=2, announce=print):
        tasks = reading_tasks(files, [{}])
        blocks = record_blocks(files, tasks, num_readers=1, reader_cpus=1.0, own_ray=True)
        with contextlib.closing(blocks):
            taken = [next(blocks)]
            time.sleep(15)
            assert _mebibytes("Plasma memory usage") < STORE_MIB and _mebibytes("Spilled") == 0
            taken.clear()
            assert 1 + sum(1 for _ in blocks) >= (records << 20) // PIECE_BYTES, "it goes on as they are taken"
