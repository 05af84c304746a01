"""Checks all that a prediction run needs before anything is started or written."""

from __future__ import annotations

import gzip
import importlib.metadata
import os
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from cvd_cluster.prediction.files_beside import check_places, parts_path
from cvd_cluster.prediction.input_files import PIECE_BYTES, InputFile, look_at
from cvd_cluster.prediction.prediction_options import FAIL, PredictionOptions
from cvd_cluster.ray_session import require_absolute_paths
from estimators import storage
from estimators.data_set.matching_files import matching_files
from estimators.errors import DataError, InfrastructureError, UserError, first_of
from estimators.export.export_process import export_in_a_process
from estimators.export.model_choice import ChosenModel, best_model, model_at, newest_model
from estimators.inputs.data_check import check_first_record
from estimators.storage.access import check_access
from estimators.submission.sample_check import check_sample
from estimators.submission.target import check_target
from estimators.train_dir.exports import check_export, digest_of

_FLAG = "input_data_pattern"


@dataclass(frozen=True)
class Prepared:
    """What a run was found to consist of.

    Attributes:
      model: what predicts; its SavedModel is there.
      model_digest: of all bytes of the SavedModel.
      files: the input files in the order of the submission.
    """

    model: ChosenModel
    model_digest: str
    files: tuple[InputFile, ...]

    def made_with(self, options: PredictionOptions) -> dict[str, Any]:
        """All that a prediction depends on beside its file."""
        return {
            "model": self.model_digest,
            "tensorflow": tensorflow_version(),
            "onednn": os.environ.get("TF_ENABLE_ONEDNN_OPTS", ""),  # it chooses the kernels, which differ in last bits
            "batch_size": options.batch_size,
            "max_image_pixels": options.max_image_pixels,
            "on_gpu": options.gpus_per_worker > 0,
        }


def prepare(options: PredictionOptions, announce: Callable[[str], None], *, piece_bytes: int = PIECE_BYTES) -> Prepared:
    """Finds the model and the files, tries the first record of each, and exports the model if that is not done yet.

    Args:
      options: what is asked for.
      announce: takes a line for the user.
      piece_bytes: see InputFile.

    Raises:
      UserError: a path is relative in a Ray job, there is no export, no file matches, or the output cannot be written.
      DataError: a file holds no record; or bad records are to end the run, and the first one of a file is bad.
    """
    paths = (_FLAG, "output_file", "output_path", "train_dir", "model_dir", "sample_submission")
    require_absolute_paths({name: getattr(options, name) for name in paths})
    check_access(
        read={name: getattr(options, name) for name in ("train_dir", "model_dir")},
        read_here={name: getattr(options, name) for name in (_FLAG, "sample_submission")},
        folders={"output_path": options.output_path},
        files={"output_file": options.output_file},
    )
    if options.sample_submission:
        check_sample(options.sample_submission)
    try:
        model = _chosen_model(options, announce)
    except OSError as error:
        raise _unreadable_model(options.model_dir or options.train_dir or "", error) from None
    files = _input_files(options, piece_bytes)
    flag = options.output_flag.lstrip("-")
    inputs = [*(file.path for file in files), *filter(None, [options.sample_submission])]
    check_target(options.output, flag=flag, inputs=inputs, folder=options.output_path is not None)
    check_places(options.output, flag=flag, inputs=inputs)
    if model.checkpoint is not None:
        announce(f"exporting step {model.step}, which is not exported yet, to {model.model_dir}")
        export_in_a_process(options.train_dir or "", model.checkpoint)
    try:
        return Prepared(model, digest_of(model.model_dir), files)
    except OSError as error:
        raise _unreadable_model(model.model_dir, error) from None


def _unreadable_model(folder: str, error: OSError) -> UserError:
    return UserError(
        "The model cannot be read",
        asked=f"the model in {folder}",
        found=f"{error.filename or folder}: {error.strerror or error}",
        change="its permissions, or another one by --model_dir",
    )


def _chosen_model(options: PredictionOptions, announce: Callable[[str], None]) -> ChosenModel:
    if options.model_dir:
        return model_at(check_export(options.model_dir))
    if options.eval_best:
        return best_model(options.train_dir or "", announce)
    return newest_model(options.train_dir or "")


def _input_files(options: PredictionOptions, piece_bytes: int) -> tuple[InputFile, ...]:
    files = []
    paths = matching_files(options.input_data_pattern, flag=_FLAG)
    _refuse_folders(options)
    for path in paths:
        try:
            file = look_at(path, piece_bytes)
            if options.on_bad_record == FAIL and file.size and not file.gzip:
                check_first_record(
                    path,
                    flag=_FLAG,
                    other_policies="--on_bad_record=quarantine",
                    max_pixels=options.max_image_pixels,
                )
        except OSError as error:
            failed = storage.has_failed(error)
            raise (InfrastructureError if failed else UserError)(
                f"A file of --{_FLAG} cannot be read",
                asked=path,
                found=error.strerror or str(error),
                change="the same command, when its disk or store answers again"
                if failed
                else f"--{_FLAG}, or the file's permissions",
            ) from None
        files.append(file)
    if not any(file.size and not file.gzip for file in files) and not any(map(_holds_something, files)):
        raise DataError(
            f"The files of --{_FLAG} hold no record",
            asked=f"--{_FLAG}={options.input_data_pattern}",
            found=f"{len(files)} empty files",
            change=f"--{_FLAG}",
        )
    return tuple(files)


def _refuse_folders(options: PredictionOptions) -> None:
    """What lies in them would be missing in the submission."""
    own = (options.output, parts_path(options.output))
    found = storage.matching_folders(options.input_data_pattern)
    folders = [folder for folder in found if not any(storage.is_inside(folder, one) for one in own)]
    if folders:
        raise UserError(
            f"--{_FLAG} matches a folder, and the files in it would be left out",
            asked=f"--{_FLAG}={options.input_data_pattern}",
            found=first_of(folders),
            change=f"--{_FLAG} to a pattern that matches files alone; commas separate several, such as "
            f"'{folders[0]}/*'",
        )


def _holds_something(file: InputFile) -> bool:
    """Whether there is a byte in a file, or in what is packed in it."""
    if not file.gzip:
        return file.size > 0
    try:
        with storage.open_binary(file.path) as opened:
            return bool(gzip.open(opened).read(1))
    except (OSError, EOFError, zlib.error):  # damage, which is something
        return True


def tensorflow_version() -> str:
    """Which TensorFlow is installed, without importing it."""
    for name in ("tensorflow", "tensorflow-cpu"):
        try:
            return importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return "unknown"
