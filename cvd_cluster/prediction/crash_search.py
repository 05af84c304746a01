"""Finds the records that crash a predictor, by trying them on one that may die. Pure: how to try is handed in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cvd_cluster.prediction.piece_columns import REPORT, PieceReport
from cvd_cluster.prediction.predictor import RecordPlace
from estimators.errors import InfrastructureError

_LONE_DEATHS = 3
_BLAMED_BEFORE_DOUBT = 8

# Takes a row of the block, the first record and the one after the last. Gives how many of them the model answered, of
# which those are none whose picture cannot be decoded, or None if the predictor died of them.
Attempt = Callable[[int, int, int], int | None]


def records_that_crash(block: Any, batch_size: int, attempt: Attempt) -> list[RecordPlace]:
    """Tries all records of a block, first batch by batch, then one by one where a predictor died.

    A record is blamed that three predictors die of alone, after one died of its batch and two of its block: what kills
    one of them, or two, may be the kernel, out of memory, or a person.

    Args:
      block: a table of piece_columns.SCHEMA.
      batch_size: records of a batch.
      attempt: tries some records, which are all in one batch.

    Raises:
      InfrastructureError: no record survived of so many that it must be the model.
    """
    blamed: list[RecordPlace] = []
    has_survivors = False

    def survives(row: int, begin: int, end: int) -> bool:
        nonlocal has_survivors
        answered = attempt(row, begin, end)
        # A model that dies of every picture lives on records that hold none.
        has_survivors = has_survivors or bool(answered)
        return answered is not None

    counts = [PieceReport.from_json(report).records for report in block[REPORT].to_pylist()]
    for row, records in enumerate(counts):
        for begin in range(0, records, batch_size):
            end = min(begin + batch_size, records)
            if survives(row, begin, end):
                continue
            for one in range(begin, end):
                if any(survives(row, one, one + 1) for _ in range(_LONE_DEATHS)):
                    continue
                blamed.append(RecordPlace(row, one))
                if len(blamed) > _BLAMED_BEFORE_DOUBT and not has_survivors:
                    # Bad photos lie beside each other where one camera or program made them all.
                    for last_row, count in enumerate(counts):
                        last = count - 1
                        while last >= 0 and not has_survivors and survives(last_row, last, last + 1):
                            last -= 1  # it was none that the model answered
                    if not has_survivors:
                        raise _all_are_deadly(len(blamed))
    return blamed


def _all_are_deadly(count: int) -> InfrastructureError:
    return InfrastructureError(
        "Every record kills the predictor",
        found=f"each of {count} records in a row kills every predictor that it is given to, and so do others",
        change="look at the model: does it crash on pictures? What is predicted already is kept",
    )
