"""Checks all that a prediction run needs before anything is started or written."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from cvd_cluster.prediction.prediction_options import PredictionOptions
from cvd_cluster.prediction.shards import Shard
from cvd_cluster.ray_session import require_absolute_paths
from estimators import storage
from estimators.data_check import check_data
from estimators.exports import check_export, newest_export
from estimators.submission.target import check_target


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
    paths = ("input_data_pattern", "output_file", "output_path", "train_dir", "model_dir")
    require_absolute_paths({name: getattr(options, name) for name in paths})
    model_dir = check_export(options.model_dir) if options.model_dir else newest_export(options.train_dir or "")
    shards = _find_shards(options.input_data_pattern, announce)
    check_target(
        options.output,
        flag="output_path" if options.output_path else "output_file",
        inputs=[shard.path for shard in shards],
        folder=options.output_path is not None,
    )
    return Prepared(model_dir, shards)


def _find_shards(pattern: str, announce: Callable[[str], None]) -> tuple[Shard, ...]:
    files = check_data(pattern, flag="input_data_pattern", num_classes=None, on_bad_record="fail", announce=announce)
    pairs = zip(files.paths, files.counts, strict=True)
    return tuple(Shard(path=path, records=count, size_bytes=storage.size(path)) for path, count in pairs)
