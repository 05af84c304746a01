from __future__ import annotations

import pytest

from estimators.records.record_schema import Example, parse_example, serialize_example


@pytest.mark.parametrize("label", [0, 1, 2**40, None])
def test_a_record_comes_back(label: int | None) -> None:
    data = serialize_example(b"\xff\xd8 picture", "cat 1 ü.jpg", label)
    assert parse_example(data) == Example(b"\xff\xd8 picture", "cat 1 ü.jpg".encode(), label)


def test_the_same_record_has_the_same_bytes() -> None:
    assert serialize_example(b"p", "1.jpg", 1) == serialize_example(b"p", "1.jpg", 1)


def test_an_empty_picture_or_id_counts_as_missing() -> None:
    assert parse_example(serialize_example(b"", "", 0)) == Example(None, None, 0)


def test_no_bytes_are_a_record_without_fields() -> None:
    assert parse_example(b"") == Example(None, None, None)


@pytest.mark.parametrize("data", [b"\x07garbage", b"\x0a\xff\xff", b"hello world, no protobuf"])
def test_bytes_that_are_no_example_are_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"not a tf\.train\.Example"):
        parse_example(data)
