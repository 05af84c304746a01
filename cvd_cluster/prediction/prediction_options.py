"""What launch.inference is asked to do."""

from __future__ import annotations

from dataclasses import dataclass

from estimators.errors import UserError
from estimators.options import Options, option

_GROUP = "inference"


@dataclass(frozen=True, kw_only=True)
class PredictionOptions(Options):
    """Options of one prediction run.

    Raises:
      UserError: a value is out of its range, neither train_dir nor model_dir is given, or not exactly one output.
    """

    input_data_pattern: str = option(
        group=_GROUP, help="the TFRecord files to predict, a glob; commas separate several"
    )
    output_file: str | None = option(
        None, group=_GROUP, help="the CSV to write; an older one stays until the new one is complete"
    )
    output_path: str | None = option(
        None,
        group=_GROUP,
        help="instead of a CSV, a folder for JSON lines, prediction.results-00000-of-000NN, one for each input file; "
        "launch.convert_prediction_from_json_to_csv turns them into the same CSV",
    )
    train_dir: str | None = option(None, group=_GROUP, help="the folder of a training run, whose newest export is used")
    model_dir: str | None = option(
        None, group=_GROUP, help="one export, e.g. TRAIN_DIR/export/step_100, instead of the newest"
    )
    batch_size: int = option(256, group=_GROUP, at_least=1, help="photos that one predictor takes at a time")
    max_worker_count: int = option(
        0, group=_GROUP, at_least=0, help="predictors at the most; 0: one for each CPU but one, which reads"
    )
    num_readers: int = option(8, group=_GROUP, at_least=1, help="files read at the same time, at the most")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.train_dir is None and self.model_dir is None:
            raise UserError(
                "No model to predict with",
                asked="neither --train_dir nor --model_dir",
                change="--train_dir to the folder that launch.train was given, or --model_dir to one of its exports",
            )
        if (self.output_file is None) == (self.output_path is None):
            raise UserError(
                "One output must be named",
                asked="neither --output_file nor --output_path" if self.output_file is None else "both of them",
                change="--output_file to a CSV, or --output_path to a folder for JSON lines",
            )

    @property
    def output(self) -> str:
        """The file or folder that the predictions go to."""
        return self.output_file or self.output_path or ""
