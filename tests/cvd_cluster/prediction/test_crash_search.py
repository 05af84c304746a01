"""Which records are to blame, by predictors that die of them."""

from __future__ import annotations

from collections.abc import Collection

import pyarrow as pa
import pytest

from cvd_cluster.prediction.crash_search import records_that_crash
from cvd_cluster.prediction.piece_columns import REPORT, PieceReport
from estimators.errors import InfrastructureError


def _blamed(deadly: Collection[int], records: int, without_picture: Collection[int] = ()) -> list[int]:
    report = PieceReport(0, 0, records, (), 0, 0, 0, None, None)
    block = pa.table({REPORT: [report.to_json()]})

    def attempt(row: int, begin: int, end: int) -> int | None:
        tried = set(range(begin, end))
        return None if set(deadly) & tried else len(tried - set(without_picture))

    return [place.index for place in records_that_crash(block, 4, attempt)]


@pytest.mark.parametrize("deadly", [{0}, {3, 9}, set(range(40)), set(range(20, 60)), set(range(0, 60, 4))])
def test_all_that_kill_are_found_however_many_lie_beside_each_other(deadly: set[int]) -> None:
    assert _blamed(deadly, 61) == sorted(deadly)


def test_where_none_survives_it_is_the_model() -> None:
    with pytest.raises(InfrastructureError, match="Every record kills the predictor"):
        _blamed(range(61), 61)


def test_where_the_last_records_show_no_picture_those_before_them_tell() -> None:
    assert _blamed(range(20), 61, without_picture=range(50, 61)) == list(range(20))


def test_a_record_that_shows_the_model_no_picture_is_no_proof_that_it_lives() -> None:
    with pytest.raises(InfrastructureError, match="Every record kills the predictor"):
        _blamed(range(1, 61), 61, without_picture=[0])
