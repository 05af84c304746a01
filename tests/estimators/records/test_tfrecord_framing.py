from __future__ import annotations

import os
from pathlib import Path

import pytest

from estimators.errors import DataError
from estimators.records.tfrecord_framing import DamagedRecordError, count_records, masked_crc, read_records, shard_name
from tests.estimators.drawn_records import cut, flip, offset_of, write_file

RECORDS = [b"first", b"", b"third record", b"x" * 70_000]


@pytest.fixture
def path(tmp_path: Path) -> str:
    return write_file(tmp_path / "data", RECORDS)


def surviving(path: str) -> tuple[list[bytes], list[str]]:
    damages: list[DamagedRecordError] = []
    data = [data for _, data in read_records(path, on_damage=damages.append)]
    return data, [damage.found for damage in damages]


def test_the_checksum_is_that_of_the_format() -> None:
    # CRC-32C of "123456789" is e3069283 (RFC 3720, B.4); rotated by 15 bits and moved by a282ead8.
    assert masked_crc(b"123456789") == ((0xE3069283 >> 15 | 0xE3069283 << 17) + 0xA282EAD8) % 2**32


def test_records_come_back_with_their_offsets(path: str) -> None:
    assert list(read_records(path)) == [(offset_of(RECORDS[:i]), data) for i, data in enumerate(RECORDS)]
    assert count_records(path) == 4


def test_an_empty_file_holds_no_record(tmp_path: Path) -> None:
    path = write_file(tmp_path / "empty", [])
    assert list(read_records(path)) == [] and count_records(path) == 0


def test_damaged_data_is_told_with_file_and_offset(path: str) -> None:
    flip(path, offset_of(RECORDS[:2]) + 14)
    with pytest.raises(DamagedRecordError) as caught:
        list(read_records(path))
    assert isinstance(caught.value, DataError)
    message = str(caught.value)
    assert path in message and f"at byte {offset_of(RECORDS[:2])}: the checksum of the record's data" in message


def test_after_damaged_data_reading_goes_on_with_the_next_record(path: str) -> None:
    flip(path, offset_of(RECORDS[:2]) + 14)
    data, damages = surviving(path)
    assert data == [RECORDS[0], RECORDS[1], RECORDS[3]] and len(damages) == 1


def test_after_a_damaged_length_reading_ends_with_this_file(path: str) -> None:
    flip(path, offset_of(RECORDS[:1]))
    data, damages = surviving(path)
    begin = offset_of(RECORDS[:1])
    rest = os.path.getsize(path) - begin
    assert data == RECORDS[:1] and damages == [
        f"{path} at byte {begin}: the checksum of the record's length is wrong; "
        f"the rest of the file, {rest} bytes, is left out"
    ]


@pytest.mark.parametrize(("length", "whole"), [(offset_of(RECORDS) - 1, 3), (offset_of(RECORDS[:3]) + 12, 3), (3, 0)])
def test_a_file_that_is_cut_short_gives_the_records_before(path: str, length: int, whole: int) -> None:
    cut(path, length)
    data, damages = surviving(path)
    assert data == RECORDS[:whole] and len(damages) == 1
    with pytest.raises(DamagedRecordError):
        count_records(path)
    assert count_records(path, on_damage=lambda damage: None) == whole


def test_a_cut_inside_a_header_says_so(path: str) -> None:
    cut(path, offset_of(RECORDS[:1]) + 5)
    with pytest.raises(DamagedRecordError, match=r"ends inside a record header \(5 of 12 bytes\)"):
        count_records(path)


def test_a_cut_inside_a_record_says_how_much_is_missing(path: str) -> None:
    cut(path, offset_of(RECORDS[:1]) - 3)
    with pytest.raises(DamagedRecordError, match="3 of its 9 bytes are missing"):
        count_records(path)


def test_a_file_that_is_no_tfrecord_file_is_refused_at_byte_0(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("Id,Category\n1.jpg,0\n2.jpg,1\n")
    with pytest.raises(DamagedRecordError, match=r"notes\.txt\n.*at byte 0"):
        count_records(str(tmp_path / "notes.txt"))


def test_counting_reads_headers_only(path: str) -> None:
    flip(path, offset_of(RECORDS[:3]) + 100)
    assert count_records(path) == 4


def test_shards_are_named_so_that_they_sort() -> None:
    assert shard_name("/data/train", 3, 8) == "/data/train-00003-of-00008"
