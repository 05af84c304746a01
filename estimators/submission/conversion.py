"""Batch predictions in JSON lines -> the submission CSV that launch.inference writes of the same predictions."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Collection, Iterable
from typing import Any

import pyarrow as pa

from estimators import storage
from estimators.errors import DataError, UserError
from estimators.storage.access import check_access
from estimators.submission.conversion_options import ConversionOptions
from estimators.submission.json_results import places_of, read_results, require_all_shards
from estimators.submission.prediction_columns import IMAGE_ID, CsvForm
from estimators.submission.target import check_target, write_errors_told
from estimators.submission.unique_ids import UniqueIds, hashes_of

_INPUT, _OUTPUT = "json_prediction_files_pattern", "csv_output_file"


def convert(options: ConversionOptions, *, announce: Callable[[str], None] = print) -> int:
    """Writes the CSV; needs the same memory for any number of rows.

    Args:
      options: what to read and where to write.
      announce: takes a line for the user.

    Returns:
      The number of rows.

    Raises:
      UserError: no file matches, or the CSV cannot be written.
      DataError: a file is missing, a line cannot be used, or an id comes twice; an older CSV is as it was.
    """
    check_access(
        read={_INPUT: options.json_prediction_files_pattern},
        write={_OUTPUT: os.path.dirname(options.csv_output_file)},
    )
    paths = _input_files(options.json_prediction_files_pattern)
    check_target(options.csv_output_file, flag=_OUTPUT, inputs=paths)
    require_all_shards(paths, flag=_INPUT)
    with (
        tempfile.TemporaryDirectory(prefix="cvd-ids-") as folder,
        write_errors_told(options.csv_output_file, flag=_OUTPUT),
        storage.written_whole(options.csv_output_file) as file,
    ):
        unique, form = UniqueIds(folder), CsvForm(options.output_format, options.top_k)
        _write(read_results(paths), form, unique, file)
        _require_unique(unique, paths)
        if not unique.rows:
            raise DataError("There is no prediction in these files", asked=f"--{_INPUT}", found=", ".join(paths[:3]))
    announce(f"wrote {unique.rows} rows to {options.csv_output_file}, from {len(paths)} files")
    return unique.rows


def _input_files(pattern: str) -> list[str]:
    paths = storage.glob(pattern)
    if not paths:
        raise UserError(
            f"No file matches --{_INPUT}",
            asked=f"--{_INPUT}={pattern}",
            found=storage.nearest_names(pattern),
            change=f"--{_INPUT} to DIR/prediction.results-*, where DIR is the --output_path of launch.inference",
        )
    return paths


def _write(tables: Iterable[pa.Table], form: CsvForm, unique: UniqueIds, file: Any) -> None:
    for table in tables:
        file.write(form.lines(table))
        unique.add(hashes_of(one.encode("utf-8") for one in table[IMAGE_ID].to_pylist()))


def _require_unique(unique: UniqueIds, paths: list[str]) -> None:
    def ids_of(rows: Collection[int]) -> dict[int, bytes]:
        return {row: place.image_id for row, place in places_of(paths, rows).items()}

    pair = unique.duplicate(ids_of)
    if pair:
        places = places_of(paths, pair)
        first, second = (places[row] for row in pair)
        raise DataError(
            "Two predictions have the same id",
            asked="one row for each id",
            found=f"{first.image_id.decode('utf-8')!r} is the id in {first} and in {second}",
            change=f"leave one of the two files out of --{_INPUT}, or predict again",
        )
