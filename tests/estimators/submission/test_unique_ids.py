"""An id that comes twice is found, wherever it is, and equal hashes alone accuse nobody."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np
import pytest

from estimators.submission.unique_ids import UniqueIds, hashes_of


def _found(folder: Path, ids: Sequence[bytes], hashes: Sequence[int] | None = None) -> tuple[int, int] | None:
    unique = UniqueIds(str(folder))
    values = hashes_of(ids) if hashes is None else np.array(hashes, np.uint64)
    for begin in range(0, len(ids), 70_000):
        unique.add(values[begin : begin + 70_000])
    assert unique.rows == len(ids)

    def ids_of(rows: Collection[int]) -> dict[int, bytes]:
        return {row: ids[row] for row in rows}

    return unique.duplicate(ids_of)


def test_many_different_ids_are_unique(tmp_path):
    assert _found(tmp_path, [b"%d.jpg" % i for i in range(200_000)]) is None
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) == 16 * 200_000


@pytest.mark.parametrize(("first", "second"), [(0, 1), (0, 199_999), (69_999, 70_000), (5, 150_000)])
def test_the_one_that_comes_twice_is_found(tmp_path, first, second):
    ids = [b"%d.jpg" % i for i in range(200_000)]
    ids[second] = ids[first]
    assert _found(tmp_path, ids) == (first, second)


def test_of_many_pairs_the_one_that_is_complete_first_is_named(tmp_path):
    ids = [b"%d" % (i % 1000) for i in range(5000)]
    assert _found(tmp_path, ids) == (0, 1000)


def test_one_id_for_all_rows_takes_no_more_than_a_look(tmp_path):
    assert _found(tmp_path, [b"same"] * 100_000) == (0, 1)


def test_equal_hashes_of_different_ids_are_no_duplicate(tmp_path):
    assert _found(tmp_path, [b"a", b"b", b"c", b"d"], [7, 7, 9, 7]) is None


def test_a_true_pair_behind_many_equal_hashes_is_found(tmp_path):
    ids = [b"%d" % i for i in range(1001)]
    ids[1000] = ids[999]
    hashes = [i // 2 for i in range(1001)]  # 500 pairs of different ids first
    hashes[1000] = hashes[999]
    assert _found(tmp_path, ids, hashes) == (999, 1000)


def test_nothing_is_unique(tmp_path):
    assert _found(tmp_path, []) is None


def test_a_hash_is_the_same_in_every_process():
    assert hashes_of([b"1.jpg", b""]).tolist() == [13359594909701875265, 13020603013274838756]
