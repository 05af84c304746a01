"""Batch predictions in JSON lines -> the submission CSV that launch.inference writes of the same predictions."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Collection
from typing import Any

from estimators import storage
from estimators.data_set.matching_files import unlisted_told
from estimators.errors import DataError, UserError, first_of
from estimators.processes.scratch_folder import scratch_folder
from estimators.storage.access import check_access
from estimators.submission.json_results import Place, places_of, read_results, require_all_shards
from estimators.submission.json_to_csv_options import JsonToCsvOptions
from estimators.submission.prediction_columns import IMAGE_ID, CsvForm
from estimators.submission.sample_check import SampleCheck, check_sample
from estimators.submission.target import check_target, write_errors_told
from estimators.submission.unique_ids import UniqueIds, hashes_of

_INPUT, _OUTPUT = "json_prediction_files_pattern", "csv_output_file"


def json_to_csv(options: JsonToCsvOptions, *, announce: Callable[[str], None] = print) -> int:
    """Writes the CSV; needs the same memory for any number of rows.

    Args:
      options: what to read and where to write.
      announce: takes a line for the user.

    Returns:
      The number of rows.

    Raises:
      UserError: no file matches, or the CSV cannot be written.
      DataError: a file is missing, a line cannot be used, an id comes twice, or the ids are not those of the sample; an
        older CSV is as it was.
    """
    check_access(
        read_here={_INPUT: options.json_prediction_files_pattern, "sample_submission": options.sample_submission},
        files={_OUTPUT: options.csv_output_file},
    )
    if options.sample_submission:
        check_sample(options.sample_submission)
    paths = _input_files(options.json_prediction_files_pattern)
    inputs = [*paths, *filter(None, [options.sample_submission])]
    check_target(options.csv_output_file, flag=_OUTPUT, inputs=inputs)
    require_all_shards(paths, flag=_INPUT)
    with (
        scratch_folder("ids") as folder,
        write_errors_told(options.csv_output_file, flag=_OUTPUT),
        storage.written_whole(options.csv_output_file) as file,
    ):
        rows, order = _write(options, paths, file, folder)
    if order:
        announce(order)
    announce(f"wrote {rows} rows to {options.csv_output_file}, from {len(paths)} files")
    return rows


def _input_files(pattern: str) -> list[str]:
    with unlisted_told(pattern, flag=_INPUT):
        paths = storage.glob(pattern)
    if not paths:
        raise UserError(
            f"No file matches --{_INPUT}",
            asked=f"--{_INPUT}={pattern}",
            found=storage.nearest_names(pattern),
            change=f"--{_INPUT} to DIR/prediction.results-*, where DIR is the --output_path of launch.inference",
        )
    return paths


def _write(options: JsonToCsvOptions, paths: list[str], file: Any, folder: str) -> tuple[int, str | None]:
    """Writes all rows and checks their ids; how many there are, and what is to be told of their order."""
    unique, form = UniqueIds(folder), CsvForm(options.output_format, options.top_k)
    sample = (
        SampleCheck(options.sample_submission, os.path.join(folder, "sample")) if options.sample_submission else None
    )
    digests: dict[str, str] = {}
    for table in read_results(paths, digests):
        file.write(form.lines(table))
        hashes = hashes_of(one.encode("utf-8") for one in table[IMAGE_ID].to_pylist())
        unique.add(hashes)
        if sample:
            sample.add(hashes)
    is_known = _check_is_one_prediction(digests, unique.rows)
    if not unique.rows and not is_known:
        raise DataError("There is no prediction in these files", asked=f"--{_INPUT}", found=", ".join(paths[:3]))
    if not unique.rows:  # all records were bad
        file.write(form.empty())

    def ids_of(rows: Collection[int]) -> dict[int, bytes]:
        return {row: place.image_id for row, place in places_of(paths, rows).items()}

    if pair := unique.duplicate(ids_of):
        raise _same_id(*(places_of(paths, pair)[row] for row in pair))
    return unique.rows, sample.result(ids_of) if sample else None


def _check_is_one_prediction(digests: dict[str, str], rows: int) -> bool:
    """Refuses files that are not those of one run, where its side file lies beside their folder and tells.

    Args:
      digests: path -> SHA-256.
      rows: in all of them.

    Returns:
      Whether there is such a side file.
    """
    folders = {os.path.dirname(storage.absolute(path)) for path in digests}
    side = folders.pop() + ".json"
    if folders:
        return False
    try:
        content = json.loads(storage.read_text(side))
        known, written = dict(content["sha256"]), int(content["rows"])
    except (OSError, ValueError, LookupError, TypeError):  # it may not be there, or hold anything
        return False
    if set(known) != set(map(os.path.basename, digests)):
        return False
    change = f"copy them anew, with that file, or predict again; then --{_INPUT}"
    if rows != written:
        raise DataError(
            "The files do not hold all predictions",
            asked=f"{written} rows, by {side}",
            found=f"{rows} rows in {len(digests)} files",
            change=change,
        )
    if others := [path for path, digest in digests.items() if known[os.path.basename(path)] != digest]:
        raise DataError(
            "Files of the batch prediction are of another run, or were changed",
            asked=f"the SHA-256 that {side} has of each",
            found=f"another one of {len(others)} files: {first_of(others)}",
            change=change,
        )
    return True


def _same_id(first: Place, second: Place) -> DataError:
    return DataError(
        "Two predictions have the same id",
        asked="one row for each id",
        found=f"{first.image_id.decode('utf-8')!r} is the id in {first} and in {second}",
        change=f"leave one of the two files out of --{_INPUT}, or predict again",
    )
