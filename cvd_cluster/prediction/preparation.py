"""Checks all that a prediction run needs before anything is started or written."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cvd_cluster.prediction.prediction_options import PredictionOptions
from cvd_cluster.prediction.shards import Shard
from cvd_cluster.ray_session import require_absolute_paths
from estimators import storage
from estimators.data_check import check_data
from estimators.errors import UserError
from estimators.exports import check_export, newest_export


@dataclass(frozen=True)
class Prepared:
    """What a run was found to consist of.

    Attributes:
      model_dir: the SavedModel.
      shards: the input files in the order of the submission.
    """

    model_dir: str
    shards: tuple[Shard, ...]

    @property
    def records(self) -> int:
        """Records in all files."""
        return sum(shard.records for shard in self.shards)


def prepare(options: PredictionOptions, announce: Callable[[str], None]) -> Prepared:
    """Finds the model and the files, tries the first record of each, counts the records.

    Raises:
      UserError: a path is relative in a Ray job, there is no export, no file matches, or the output cannot be written.
      DataError: a file is no TFRecord file, is cut short, or its first record lacks a picture or an id.
    """
    paths = ("input_data_pattern", "output_file", "train_dir", "model_dir")
    require_absolute_paths({name: getattr(options, name) for name in paths})
    model_dir = check_export(options.model_dir) if options.model_dir else newest_export(options.train_dir or "")
    shards = _find_shards(options.input_data_pattern, announce)
    _check_output(options.output_file, shards)
    return Prepared(model_dir, shards)


def _find_shards(pattern: str, announce: Callable[[str], None]) -> tuple[Shard, ...]:
    files = check_data(pattern, flag="input_data_pattern", num_classes=None, on_bad_record="fail", announce=announce)
    pairs = zip(files.paths, files.counts, strict=True)
    return tuple(Shard(path=path, records=count, size_bytes=storage.size(path)) for path, count in pairs)


def _check_output(output_file: str, shards: Sequence[Shard]) -> None:
    folder = os.path.dirname(output_file) or "."
    local = not storage.is_remote(output_file)
    found = ""
    if storage.is_dir(output_file) or output_file.endswith("/"):
        found = "it is a folder"
    elif any(os.path.realpath(output_file) == os.path.realpath(shard.path) for shard in shards):
        found = "it is one of the input files"
    elif local and not os.path.isdir(folder):
        found = f"the folder {folder} does not exist"
    elif local and not os.access(folder, os.W_OK):
        found = f"no permission to write in {folder}"
    if found:
        raise UserError(
            "The submission cannot be written",
            asked=f"--output_file={output_file}",
            found=found,
            change="--output_file to a new file in a folder that exists and that you may write in",
        )
