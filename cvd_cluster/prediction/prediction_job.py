"""The front door of distributed inference: options -> one submission."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cvd_cluster.prediction.files_beside import quarantine_path, side_file_path
from cvd_cluster.prediction.input_files import PIECE_BYTES
from cvd_cluster.prediction.prediction_options import PredictionOptions
from cvd_cluster.prediction.preparation import Prepared, prepare
from cvd_cluster.prediction.progress import Progress, shown_progress
from estimators import storage
from estimators.submission.target import write_errors_told

if TYPE_CHECKING:
    from cvd_cluster.prediction.finished_parts import FinishedParts


@dataclass(frozen=True)
class PredictionResult:
    """A finished submission.

    Attributes:
      output: the file, or the folder of JSON lines.
      model_dir: the SavedModel it was made with.
      rows: how many were written.
      quarantined: bad records that were left out.
      defaulted: bad records for which the default was written.
      predicted: photos predicted by this run; the others it found predicted.
      predictors: how many processes predicted them; 0 if nothing was left to predict.
      seconds: from the start of Ray to the finished submission.
      seconds_to_first: from the start of Ray to the first predictions.
    """

    output: str
    model_dir: str
    rows: int
    quarantined: int
    defaulted: int
    predicted: int
    predictors: int
    seconds: float
    seconds_to_first: float

    def __str__(self) -> str:
        defaults = f" ({self.defaulted} of them defaults)" if self.defaulted else ""
        bad = f", {self.quarantined} quarantined" if self.quarantined else ""
        speed = (
            f"{self.predicted / self.seconds:.1f} photos/s, first prediction after {self.seconds_to_first:.2f} seconds"
            if self.predicted or not self.rows + self.quarantined
            else "all were predicted by an earlier run"
        )
        return f"wrote {self.rows} rows{defaults} to {self.output}{bad}: {self.seconds:.2f} seconds, {speed}"


def run_prediction(
    options: PredictionOptions, *, announce: Callable[[str], None] = print, piece_bytes: int = PIECE_BYTES
) -> PredictionResult:
    """Predicts all records of the input files and writes the submission, in their order.

    What a run that was cut off has finished is kept beside the output, and not computed again.

    Args:
      options: what to predict, with what, and where to.
      announce: takes a line for the user.
      piece_bytes: how much of a file is read and predicted as one.

    Raises:
      UserError: something that was asked for is not there or not usable; nothing was started or written.
      DataError: a record is damaged or cannot be predicted; an older output file is as it was.
      InfrastructureError: Ray failed; the same holds.
    """
    prepared = prepare(options, announce, piece_bytes=piece_bytes)
    flag = options.output_flag.lstrip("-")
    # Arrow is imported, which takes half a second, when all that may be wrong has been looked at.
    from cvd_cluster.prediction.finished_parts import FinishedParts, parts_folder
    from cvd_cluster.prediction.missing_parts import predict_missing_parts

    with contextlib.ExitStack() as stack:
        with write_errors_told(options.output, flag=flag):
            folder = stack.enter_context(parts_folder(options.output, flag=flag, announce=announce))
            _delete_half_written(options)
            parts = FinishedParts(folder, prepared.files, prepared.made_with(options))
        total_bytes = sum(file.size for file in prepared.files)
        progress = stack.enter_context(shown_progress(total_bytes, announce))
        with _stop_told(announce):
            predictors = predict_missing_parts(options, prepared, parts, progress, announce)
            progress.finish()
            result = _publish(options, prepared, parts, progress, predictors, announce)
        try:
            parts.delete()
        except OSError as error:  # the submission is there
            announce(f"the parts in {folder} could not be deleted: {error.strerror or error}")
    announce(str(result))
    return result


@contextlib.contextmanager
def _stop_told(announce: Callable[[str], None]) -> Iterator[None]:
    try:
        yield
    except (KeyboardInterrupt, SystemExit):
        announce("stopped; what is predicted is kept, and the same command goes on")
        raise


def _delete_half_written(options: PredictionOptions) -> None:
    """Deletes what a run that was killed while it wrote this output left; nobody else writes it now.

    Of results that it was about to replace the older ones come back first.
    """
    from cvd_cluster.prediction.submission_output import restore_replaced, results_prefix

    if not storage.is_remote(options.output):  # where nothing tells whether somebody else is at work
        if options.output_path:
            restore_replaced(options.output_path)
        for path in (options.output_file or results_prefix(options.output), quarantine_path(options.output)):
            storage.delete_partials_of(path)
        storage.delete_partials_of(side_file_path(options.output))


def _publish(
    options: PredictionOptions,
    prepared: Prepared,
    parts: FinishedParts,
    progress: Progress,
    predictors: int,
    announce: Callable[[str], None],
) -> PredictionResult:
    from cvd_cluster.prediction.bad_records import quarantine
    from cvd_cluster.prediction.side_file import write_side_file
    from cvd_cluster.prediction.submission_merge import SubmissionMerge
    from cvd_cluster.prediction.submission_output import submission_output

    merge = SubmissionMerge(
        prepared.files, parts, options.on_bad_record, options.default_category, options.sample_submission
    )
    with (
        write_errors_told(options.output, flag=options.output_flag.lstrip("-")),
        quarantine(options.output) as bad,
        submission_output(options, len(prepared.files), ready=bad.publish, done=bad.keep) as write,
    ):
        merged = merge.write(write, bad)
        if merged.order:
            announce(merged.order)
    write_side_file(options, prepared, parts, merged)
    return PredictionResult(
        output=options.output,
        model_dir=prepared.model.model_dir,
        rows=merged.rows,
        quarantined=merged.quarantined,
        defaulted=merged.defaulted,
        predicted=progress.predicted,
        predictors=predictors,
        seconds=progress.elapsed,
        seconds_to_first=progress.seconds_to_first or progress.elapsed,
    )
