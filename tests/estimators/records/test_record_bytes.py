"""Bytes by their offset, packed or not."""

from __future__ import annotations

import gzip
import io
import random

import pytest

from estimators.records.record_bytes import GzipBytes, PlainBytes, RecordBytes, is_gzip
from estimators.records.tfrecord_framing import framed

DATA = random.Random(0).randbytes(3_000_000)


def _packed(data: bytes) -> bytes:
    half = len(data) // 2
    return gzip.compress(data[:half], 1) + gzip.compress(data[half:], 1)  # two members


def _sources() -> list[RecordBytes]:
    return [PlainBytes(io.BytesIO(DATA), len(DATA)), GzipBytes(io.BytesIO(_packed(DATA)))]


@pytest.mark.parametrize("kind", [0, 1])
def test_any_range_can_be_read_in_any_order(kind: int) -> None:
    source = _sources()[kind]
    for begin, size in [
        (0, 10),
        (5, 1_200_000),
        (2_000_000, 7),
        (1_999_990, 100),
        (3, 3),
        (2_999_999, 10),
        (4_000_000, 1),
    ]:
        assert source.read_at(begin, size) == DATA[begin : begin + size], (begin, size)
    assert source.broken is None


def test_a_packed_file_that_is_cut_short_gives_what_is_before_and_says_so() -> None:
    source = GzipBytes(io.BytesIO(_packed(DATA)[:-1_000_000]))
    read = source.read_at(0, len(DATA))
    assert 1_000_000 < len(read) < 2_500_000 and DATA.startswith(read)
    assert source.broken == "the gzip file is cut short"


def test_damage_in_a_packed_file_is_told() -> None:
    packed = bytearray(gzip.compress(bytes(3_000_000)))
    packed[len(packed) // 2] ^= 0xFF
    source = GzipBytes(io.BytesIO(bytes(packed)))
    source.read_at(0, 3_000_000)
    assert source.broken is not None and source.broken.startswith("the gzip file is damaged")


# A plain record of this length begins as a packed file does.
AS_IF_PACKED = framed(bytes(int.from_bytes(b"\x1f\x8b\x08", "little")))


@pytest.mark.parametrize(
    ("begin", "packed"),
    [(gzip.compress(b"x"), True), (b"", False), (b"\x1f\x8b", False), (AS_IF_PACKED, False)],
    ids=["packed", "empty", "short", "a length"],
)
def test_a_packed_file_is_known_by_its_first_bytes(tmp_path, begin, packed) -> None:
    (tmp_path / "file").write_bytes(begin)
    assert is_gzip(str(tmp_path / "file")) is packed
