"""Whatever is damaged, readers of small pieces find what a reader of the whole file finds; every byte is accounted."""

from __future__ import annotations

import gzip
import os
import random
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cvd_cluster.prediction.input_files import look_at
from cvd_cluster.prediction.reading_plan import ReadingTask
from cvd_cluster.prediction.record_source import read_tables
from estimators.records.record_bytes import GzipBytes
from estimators.records.tfrecord_framing import framed, masked_crc, read_records
from tests.cvd_cluster.prediction.mutations import changes_of, mutated
from tests.cvd_cluster.prediction.piecewise import read_in_pieces
from tests.estimators.drawn_records import cut, flip, offset_of, write_file

RECORDS = [random.Random(number).randbytes(50 + 37 * number) for number in range(20)]
OFFSETS = [offset_of(RECORDS[:number]) for number in range(21)]
SIZES = [30, 100, 777, 1 << 24]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("packed", [False, True])
def test_every_record_is_found_once_whatever_the_pieces(tmp_path, size, packed):
    path = write_file(tmp_path / "shard", RECORDS)
    expected = list(read_records(path))
    if packed:
        Path(path).write_bytes(gzip.compress(Path(path).read_bytes()))
    found = read_in_pieces(path, size)
    assert found.records == expected and not found.damages and not found.read_again


# What is damaged -> which records are lost, and where the damage lies.
DAMAGES = {
    "a byte of a length": (lambda path: flip(path, OFFSETS[5]), [5], (OFFSETS[5], OFFSETS[6] - OFFSETS[5])),
    "the checksum of a length": (lambda path: flip(path, OFFSETS[5] + 8), [5], (OFFSETS[5], OFFSETS[6] - OFFSETS[5])),
    "the data": (lambda path: flip(path, OFFSETS[5] + 50), [5], (OFFSETS[5], OFFSETS[6] - OFFSETS[5])),
    "the checksum of the data": (lambda path: flip(path, OFFSETS[6] - 1), [5], (OFFSETS[5], OFFSETS[6] - OFFSETS[5])),
    "the first length": (lambda path: flip(path, 0), [0], (0, OFFSETS[1])),
    "the last length": (lambda path: flip(path, OFFSETS[19]), [19], (OFFSETS[19], OFFSETS[20] - OFFSETS[19])),
    "a last record that is cut short": (
        lambda path: cut(path, OFFSETS[20] - 9),
        [19],
        (OFFSETS[19], OFFSETS[20] - OFFSETS[19] - 9),
    ),
    "a last header that is cut short": (lambda path: cut(path, OFFSETS[19] + 5), [19], (OFFSETS[19], 5)),
}


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_costs_the_records_that_it_hits_and_has_one_row(tmp_path, damage, size):
    path = write_file(tmp_path / "shard", RECORDS)
    harm, lost, place = DAMAGES[damage]
    harm(path)
    found = read_in_pieces(path, size)
    assert [data for _, data in found.records] == [one for i, one in enumerate(RECORDS) if i not in lost]
    assert found.damages == [place] and found.reasons[0]


@pytest.mark.parametrize("size", SIZES)
def test_bytes_that_are_missing_from_a_record_cost_no_other(tmp_path, size):
    path = write_file(tmp_path / "shard", RECORDS)
    data = Path(path).read_bytes()
    Path(path).write_bytes(data[: OFFSETS[5] + 40] + data[OFFSETS[5] + 45 :])
    found = read_in_pieces(path, size)
    assert [one for _, one in found.records] == RECORDS[:5] + RECORDS[6:]
    assert found.damages == [(OFFSETS[5], OFFSETS[6] - OFFSETS[5] - 5)]


@pytest.mark.parametrize("size", [30, 100, 777])
def test_records_inside_of_a_record_are_not_taken_for_records(tmp_path, size):
    inner = b"".join(framed(data) for data in RECORDS[:6])
    records = [RECORDS[7], inner, RECORDS[8], inner, inner]
    found = read_in_pieces(write_file(tmp_path / "shard", records), size)
    assert [data for _, data in found.records] == records and not found.damages
    assert found.read_again or size > 700


def test_a_length_that_no_file_has_room_for_is_no_reason_to_read_it(tmp_path):
    length = (1 << 40).to_bytes(8, "little")
    header = length + masked_crc(length).to_bytes(4, "little")
    path = tmp_path / "shard"
    path.write_bytes(framed(RECORDS[0]) + header + b"x" * 100 + framed(RECORDS[1]))
    found = read_in_pieces(str(path), 1 << 24)
    assert [data for _, data in found.records] == RECORDS[:2]
    assert found.damages == [(OFFSETS[1], 112)] and "1099511627776 bytes" in found.reasons[0]


@pytest.mark.parametrize("content", [b"", b"x", b"Id,Category\n1.jpg,0\n" * 50, bytes(5000)])
def test_a_file_without_a_record_is_one_damage_or_empty(tmp_path, content):
    path = tmp_path / "notes.txt"
    path.write_bytes(content)
    found = read_in_pieces(str(path), 100)
    assert not found.records and found.damages == ([(0, len(content))] if content else [])


@pytest.mark.parametrize("size", [100, 1 << 24])
def test_a_packed_file_that_is_cut_short_gives_the_records_before_and_one_damage(tmp_path, size):
    path = Path(write_file(tmp_path / "shard", RECORDS))
    path.write_bytes(gzip.compress(path.read_bytes())[:-3000])
    found = read_in_pieces(str(path), size)
    count = len(found.records)
    assert 3 < count < 20 and [data for _, data in found.records] == RECORDS[:count]
    assert found.reasons == ["the gzip file is cut short"] and found.damages[0][0] == OFFSETS[count]


@pytest.mark.parametrize("more", [-1000, 0, 1, 1000])
def test_a_packed_file_that_is_cut_where_a_long_record_ends_at_or_near_a_piece_is_known_to_be_cut(tmp_path, more):
    piece = 1 << 19  # more than is read beyond a piece
    length = 3 * piece + more
    records = [bytes(24), bytes(length - 40 - 16)]  # 40 bytes with its frame, and all the rest
    path = Path(write_file(tmp_path / "shard", records))
    path.write_bytes(gzip.compress(path.read_bytes())[:-4])
    for size in (piece, 3 * piece, 4 * piece):
        found = read_in_pieces(str(path), size)
        assert [data for _, data in found.records] == records
        assert found.reasons == ["the gzip file is cut short"] and found.damages == [(length, 0)]


def test_a_packed_file_of_a_damaged_one_is_searched_too(tmp_path):
    path = write_file(tmp_path / "shard", RECORDS)
    flip(path, OFFSETS[5])
    Path(path).write_bytes(gzip.compress(Path(path).read_bytes()))
    for size in SIZES:
        found = read_in_pieces(path, size)
        assert [data for _, data in found.records] == RECORDS[:5] + RECORDS[6:]
        assert found.damages == [(OFFSETS[5], OFFSETS[6] - OFFSETS[5])]


WHOLE = b"".join(map(framed, RECORDS))


@settings(max_examples=600, deadline=None)
@given(changes_of(len(WHOLE)), st.integers(20, 2000))
def test_of_any_damaged_file_every_byte_is_in_one_record_or_one_damage_whatever_the_pieces(changes, size):
    data = mutated(WHOLE, changes)
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "shard")
        Path(path).write_bytes(data)
        whole, small = read_in_pieces(path, 1 << 24), read_in_pieces(path, size)
    assert (small.records, small.damages, small.reasons) == (whole.records, whole.damages, whole.reasons)
    spans = [(offset, len(record) + 16) for offset, record in whole.records] + whole.damages
    at = 0
    for offset, length in sorted(spans):
        assert offset == at
        at += length
    assert at == len(data)
    assert all(record in set(RECORDS) for _, record in whole.records)


PACKED = gzip.compress(WHOLE, mtime=0)


@settings(max_examples=300, deadline=None)
@given(changes_of(len(PACKED)), st.integers(20, 2000))
def test_of_any_damaged_packed_file_every_unpacked_byte_is_in_one_record_or_one_damage(changes, size):
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "shard")
        Path(path).write_bytes(mutated(PACKED, changes))
        whole, small = read_in_pieces(path, 1 << 24), read_in_pieces(path, size)
    assert (small.records, small.damages, small.reasons) == (whole.records, whole.damages, whole.reasons)
    at = 0
    for offset, length in sorted([(offset, len(record) + 16) for offset, record in whole.records] + whole.damages):
        assert offset == at
        at += length
    records = [record for _, record in whole.records]
    assert all(record in set(RECORDS) for record in records)
    assert records == RECORDS or whole.damages or at == 0, "nothing is lost without a word"


@settings(max_examples=100, deadline=None)
@given(changes_of(len(WHOLE)), st.integers(20, 2000))
def test_a_damaged_file_holds_the_same_when_it_is_packed(changes, size):
    data = mutated(WHOLE, changes)
    with tempfile.TemporaryDirectory() as folder:
        plain, packed = os.path.join(folder, "plain"), os.path.join(folder, "packed")
        Path(plain).write_bytes(data)
        Path(packed).write_bytes(gzip.compress(data))
        one, other = read_in_pieces(plain, size), read_in_pieces(packed, size)
    assert (one.records, one.damages, one.reasons) == (other.records, other.damages, other.reasons)


def test_a_packed_file_of_large_records_is_unpacked_once(tmp_path, monkeypatch):
    records = [bytes([number]) * 400_000 for number in range(30)]
    plain = write_file(tmp_path / "plain", records)
    (tmp_path / "packed").write_bytes(gzip.compress(Path(plain).read_bytes(), 1))
    file = look_at(str(tmp_path / "packed"), 1 << 20)
    begun: list[int] = []
    rewind = GzipBytes._rewind

    def counted(self: GzipBytes) -> None:
        begun.append(0)
        rewind(self)

    monkeypatch.setattr(GzipBytes, "_rewind", counted)
    tables = list(read_tables(file, ReadingTask(0, packed=True)))
    assert len(tables) == -(-30 * 400_016 // (1 << 20)) and len(begun) == 1
