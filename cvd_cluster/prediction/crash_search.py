"""Finds the records that crash a predictor, by trying them on one that may die. Pure: how to try is handed in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cvd_cluster.prediction.piece_columns import REPORT, PieceReport
from cvd_cluster.prediction.predictor import RecordPlace

# Takes a row of the block, the first record and the one after the last; False if the predictor died of it.
Survives = Callable[[int, int, int], bool]


def attempts_at(block: Any, batch_size: int, survives: Survives) -> list[RecordPlace]:
    """Tries all records of a block, first batch by batch, then one by one where a predictor died.

    A record is blamed that a predictor dies of alone, after one died of its batch and two of its block.

    Args:
      block: a table of piece_columns.SCHEMA.
      batch_size: records of a batch.
      survives: tries some records, which are all in one batch.
    """
    blamed = []
    for row, report in enumerate(block[REPORT].to_pylist()):
        records = PieceReport.from_json(report).records
        for begin in range(0, records, batch_size):
            end = min(begin + batch_size, records)
            if not survives(row, begin, end):
                blamed += [RecordPlace(row, one) for one in range(begin, end) if not survives(row, one, one + 1)]
    return blamed
