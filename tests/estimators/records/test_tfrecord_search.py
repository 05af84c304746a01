"""Headers are found wherever they stand, and nothing else is."""

from __future__ import annotations

import random

import pytest

from estimators.records.tfrecord_framing import framed
from estimators.records.tfrecord_search import possible_headers


@pytest.mark.parametrize("shift", range(8))
@pytest.mark.parametrize("length", [0, 1, 255, 70_000])
def test_a_header_is_found_at_any_place(shift: int, length: int) -> None:
    noise = random.Random(0).randbytes(1000 + shift)
    record = framed(b"x" * length)
    assert possible_headers(noise + record + noise[:50]) == [len(noise)]
    assert possible_headers(noise + record[:11]) == []


@pytest.mark.parametrize("data", [b"", b"\0" * 11, b"\0" * 100_000, bytes(range(256)) * 1000])
def test_where_there_is_none_none_is_found(data: bytes) -> None:
    assert possible_headers(data) == []


def test_headers_follow_one_another() -> None:
    assert possible_headers(framed(b"") * 3) == [0, 16, 32]
