"""Predictions in any order -> one submission in the order of the input files, complete and without duplicates."""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Sequence
from typing import IO, NamedTuple

from cvd_cluster.prediction.shards import Shard
from estimators.errors import DataError, InfrastructureError
from estimators.submission_format import HEADER, submission_row


class Prediction(NamedTuple):
    """What became of one record.

    Attributes:
      shard: the index of its file.
      row: its number in the file, from 0.
      image_id: its id; "" if it has none.
      category: the class; meaningless where `error` is set.
      error: why it could not be predicted; None if it was.
    """

    shard: int
    row: int
    image_id: str
    category: int
    error: str | None


class SubmissionMerge:
    """Writes each row as soon as all rows before it are there; holds only those that came too early.

    Args:
      shards: the input files in the order of the submission.
      file: where the CSV goes.
    """

    def __init__(self, shards: Sequence[Shard], file: IO[bytes]) -> None:
        self._shards = shards
        self._file = file
        # The submission's line number (without the header) at which each shard begins.
        self._begins = [0, *itertools.accumulate(shard.records for shard in shards)]
        self._next = 0
        self._early: dict[int, str] = {}
        self._line_of_id: dict[str, int] = {}
        file.write(HEADER.encode("utf-8"))

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
            self._early[line] = submission_row(prediction.image_id, prediction.category)
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
        self._file.write("".join(ready).encode("utf-8"))

    def _place(self, line: int) -> str:
        shard = bisect.bisect_right(self._begins, line) - 1
        # Empty files begin where the next one does, and bisect_right passes over them.
        shard = min(shard, len(self._shards) - 1)
        return f"record {line - self._begins[shard]} of {self._shards[shard].path}"
