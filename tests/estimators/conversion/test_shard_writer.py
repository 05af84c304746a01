from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from estimators import storage
from estimators.conversion.shard_writer import shard_sizes, write_split
from estimators.records.tfrecord_framing import read_records


@given(num_records=st.integers(1, 500), num_shards=st.integers(1, 40))
def test_shards_are_as_equal_as_can_be_and_never_empty(num_records, num_shards):
    sizes = shard_sizes(num_records, num_shards)
    assert sum(sizes) == num_records and len(sizes) == min(num_shards, num_records)
    assert min(sizes) >= 1 and max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize("num_shards", [1, 3, 50])
def test_the_shards_in_their_order_hold_the_records_in_theirs(tmp_path, num_shards):
    records = [f"record {number}".encode() for number in range(10)]
    written = write_split(str(tmp_path), "train", records, 10, num_shards)
    paths = storage.glob(f"{tmp_path}/train/train-*-of-{min(num_shards, 10):05d}")
    assert paths == storage.glob(f"{tmp_path}/train/*")
    assert [data for path in paths for _, data in read_records(path)] == records
    for shard, path in zip(written, paths, strict=True):
        content = Path(path).read_bytes()
        assert path == f"{tmp_path}/{shard.path}" and shard.examples == len(list(read_records(path)))
        assert (shard.size, shard.sha256) == (len(content), hashlib.sha256(content).hexdigest())


def test_records_past_the_count_are_left_for_the_next_split(tmp_path):
    records = iter([b"a", b"b", b"c", b"d"])
    write_split(str(tmp_path), "train", records, 3, 1)
    write_split(str(tmp_path), "test", records, 1, 1)
    (path,) = storage.glob(f"{tmp_path}/test/*")
    assert [data for _, data in read_records(path)] == [b"d"]
