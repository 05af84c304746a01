"""The bytes of a piece are handed on where they are."""

from __future__ import annotations

import pyarrow as pa

from cvd_cluster.prediction.piece_columns import DATA, data_of


def _table(*chunks: list[bytes]) -> pa.Table:
    return pa.table({DATA: pa.chunked_array([pa.array(chunk, pa.large_binary()) for chunk in chunks])})


def test_each_row_has_its_own_bytes_whatever_the_chunks():
    table = _table([], [b"abc", b"", b"defg"], [], [b"xy"])
    assert [bytes(data_of(table, row)) for row in range(4)] == [b"abc", b"", b"defg", b"xy"]


def test_nothing_is_copied():
    table = _table([b"x" * 100, b"y" * 100])
    of_table = table[DATA].chunk(0).buffers()[2].address
    assert pa.py_buffer(data_of(table, 1)).address == of_table + 100
