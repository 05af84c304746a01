"""Parts -> one submission in the order of the input files, complete and without duplicates, in constant memory."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from cvd_cluster.prediction.bad_records import BadRecords, Quarantine
from cvd_cluster.prediction.finished_parts import FinishedParts
from cvd_cluster.prediction.input_files import InputFile
from cvd_cluster.prediction.ordered_rows import rows_in_order, rows_of
from cvd_cluster.prediction.part_columns import HASH, OFFSET
from cvd_cluster.prediction.submission_output import WriteRows
from estimators.errors import DataError, InfrastructureError
from estimators.processes.scratch_folder import scratch_folder
from estimators.submission.prediction_columns import IMAGE_ID
from estimators.submission.prediction_columns import SCHEMA as PREDICTIONS
from estimators.submission.sample_check import SampleCheck
from estimators.submission.unique_ids import UniqueIds


@dataclass(frozen=True)
class Merged:
    """What a submission holds.

    Attributes:
      rows: how many were written.
      quarantined: how many were left out.
      defaulted: how many of those written are defaults.
      order: what is to be told of an order that is not the sample's; None if there is nothing to tell.
    """

    rows: int
    quarantined: int
    defaulted: int
    order: str | None = None


@dataclass(frozen=True)
class _Place:
    image_id: str
    path: str
    row: int

    def __str__(self) -> str:
        return f"record {self.row} of {self.path}"


class SubmissionMerge:
    """Merges the parts of one run.

    Args:
      files: the input files in the order of the submission.
      parts: all parts.
      policy: what becomes of bad records, see BadRecords.
      default_category: the same.
      sample: a sample submission whose ids it must have; None for none.
    """

    def __init__(
        self,
        files: Sequence[InputFile],
        parts: FinishedParts,
        policy: str,
        default_category: int,
        sample: str | None = None,
    ) -> None:
        self._files, self._parts = files, parts
        self._policy, self._default, self._sample = policy, default_category, sample

    def write(self, write: WriteRows, quarantine: Quarantine) -> Merged:
        """Writes all rows, then checks that none is missing and that no id comes twice.

        Raises:
          DataError: two rows have the same id, the ids are not those of the sample, or a record is bad and that is to
            end the run.
          InfrastructureError: something is missing.
        """
        bad = BadRecords(self._files, self._policy, self._default)
        with scratch_folder("ids") as folder:
            unique = UniqueIds(folder)
            sample = SampleCheck(self._sample, os.path.join(folder, "sample")) if self._sample else None
            for file, table, _, lines in self._divided(bad):
                quarantine.write(lines)
                if table.num_rows:
                    write(file, table.select(PREDICTIONS.names))
                    hashes = table[HASH].combine_chunks().to_numpy()
                    unique.add(hashes)
                    if sample:
                        sample.add(hashes)
            self._check_count(unique.rows, bad.quarantined)
            self._require_unique(unique)
            order = sample.result(self._ids_of) if sample else None
            return Merged(unique.rows, bad.quarantined, bad.defaulted, order)

    def _divided(self, bad: BadRecords) -> Iterator[tuple[int, pa.Table, Any, bytes]]:
        for rows in rows_in_order(self._files, self._parts):
            table, lines = bad.divide(rows)
            yield rows.file, table, rows, lines

    def _check_count(self, written: int, quarantined: int) -> None:
        read = rows_of(self._parts)
        if read != written + quarantined:
            raise InfrastructureError(
                "The count does not add up, so nothing was published",
                asked=f"{read} records were read",
                found=f"{written} rows and {quarantined} in quarantine",
                change="run the command again; if it happens again, this is a mistake of the harness",
            )

    def _require_unique(self, unique: UniqueIds) -> None:
        pair = unique.duplicate(self._ids_of)
        if pair:
            places = self._places(pair)
            first, second = (places[row] for row in pair)
            raise DataError(
                "Two records have the same id",
                asked="one row for each id",
                found=f"{first.image_id!r} is the id of {first} and of {second}",
                change="remove one of the two, or leave its file out of --input_data_pattern",
            )

    def _ids_of(self, wanted: Collection[int]) -> dict[int, bytes]:
        return {row: place.image_id.encode("utf-8") for row, place in self._places(wanted).items()}

    def _places(self, wanted: Collection[int]) -> dict[int, _Place]:
        """Where some rows of the submission come from."""
        found: dict[int, _Place] = {}
        begin = 0
        for file, table, rows, _ in self._divided(BadRecords(self._files, self._policy, self._default)):
            here = [row for row in wanted if begin <= row < begin + table.num_rows]
            if here:
                numbers = {
                    offset: rows.first_row + index for index, offset in enumerate(rows.table[OFFSET].to_pylist())
                }
                offsets = table[OFFSET].to_pylist()
                names = table[IMAGE_ID]
                for row in here:
                    number = numbers[offsets[row - begin]]
                    found[row] = _Place(names[row - begin].as_py(), self._files[file].path, number)
            begin += table.num_rows
        return found
