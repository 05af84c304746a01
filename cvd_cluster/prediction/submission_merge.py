"""Predictions in any order -> one submission in the order of the input files, complete and without duplicates."""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

from cvd_cluster.prediction.shards import Shard
from cvd_cluster.prediction.submission_output import WriteRows
from estimators.errors import DataError, InfrastructureError


class Prediction(NamedTuple):
    """What became of one record.

    Attributes:
      shard: the index of its file.
      row: its number in the file, from 0.
      image_id: its id; "" if it has none.
      class_indexes: the classes, the likeliest first; [] where `error` is set.
      probabilities: of these classes.
      error: why it could not be predicted; None if it was.
    """

    shard: int
    row: int
    image_id: str
    class_indexes: list[int]
    probabilities: list[float]
    error: str | None


class SubmissionMerge:
    """Writes each row as soon as all rows before it are there; holds only those that came too early.

    Args:
      shards: the input files in the order of the submission.
      write: where the rows go.
    """

    def __init__(self, shards: Sequence[Shard], write: WriteRows) -> None:
        self._shards = shards
        self._write = write
        # The submission's line number (without the header) at which each shard begins.
        self._begins = [0, *itertools.accumulate(shard.records for shard in shards)]
        self._next = 0
        self._early: dict[int, Prediction] = {}
        self._line_of_id: dict[str, int] = {}

    def add(self, predictions: Sequence[Prediction]) -> None:
        """Takes some predictions, in any order.

        Raises:
          DataError: a record could not be predicted, has no id, or has the id of another one.
          InfrastructureError: a record came twice, or one that is in no file.
        """
        for prediction in predictions:
            line = self._begins[prediction.shard] + prediction.row
            if line < self._next or line in self._early or line >= self._begins[prediction.shard + 1]:
                raise InfrastructureError(
                    "A prediction came twice, or for a record that is not there", found=self._place(line)
                )
            self._check(prediction, line)
            self._early[line] = prediction
        self._write_what_is_next()

    def finish(self) -> None:
        """Checks that all rows were written.

        Raises:
          InfrastructureError: some are missing.
        """
        total = self._begins[-1]
        if self._next != total:
            missing = total - self._next - len(self._early)
            raise InfrastructureError(
                "Predictions are missing",
                asked=f"{total} records",
                found=f"{missing} have no prediction, the first of them is {self._place(self._next)}",
                change="run the command again; if it happens again, the files may have changed while they were read",
            )

    def _check(self, prediction: Prediction, line: int) -> None:
        if prediction.error is not None or not prediction.image_id:
            name = f" ({prediction.image_id})" if prediction.image_id else ""
            raise DataError(
                "A record cannot be predicted",
                found=f"{self._place(line)}{name}: {prediction.error or 'it has no id'}",
                change="mend or remove that record, or leave its file out of --input_data_pattern",
            )
        before = self._line_of_id.setdefault(prediction.image_id, line)
        if before != line:
            first, second = sorted((before, line))
            raise DataError(
                "Two records have the same id",
                asked="one row for each id",
                found=f"{prediction.image_id!r} is the id of {self._place(first)} and of {self._place(second)}",
                change="remove one of the two, or leave its file out of --input_data_pattern",
            )

    def _write_what_is_next(self) -> None:
        ready = []
        while self._next in self._early:
            ready.append(self._early.pop(self._next))
            self._next += 1
        for shard, some in itertools.groupby(ready, lambda prediction: prediction.shard):
            self._write(shard, _table(list(some)))

    def _place(self, line: int) -> str:
        shard = bisect.bisect_right(self._begins, line) - 1
        # Empty files begin where the next one does, and bisect_right passes over them.
        shard = min(shard, len(self._shards) - 1)
        return f"record {line - self._begins[shard]} of {self._shards[shard].path}"


def _table(predictions: Sequence[Prediction]) -> Any:
    import pyarrow as pa

    from estimators.submission.prediction_columns import SCHEMA

    columns = (
        [one.image_id for one in predictions],
        [one.class_indexes for one in predictions],
        [one.probabilities for one in predictions],
    )
    return pa.table([pa.array(values, field.type) for values, field in zip(columns, SCHEMA, strict=True)], SCHEMA)
