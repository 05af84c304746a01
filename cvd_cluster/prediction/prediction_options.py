"""What launch.inference is asked to do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from estimators.errors import UserError
from estimators.options import Options, option, refuse_idle
from estimators.submission_format import CATEGORY, OUTPUT_FORMAT_HELP, OUTPUT_FORMATS, refuse_idle_top_k

_GROUP = "inference"
FAIL, QUARANTINE, DEFAULT = "fail", "quarantine", "default"


@dataclass(frozen=True, kw_only=True)
class PredictionOptions(Options):
    """Options of one prediction run.

    Raises:
      UserError: a value is out of its range, neither train_dir nor model_dir is given, not exactly one output, or
        options contradict each other.
    """

    input_data_pattern: str = option(
        group=_GROUP, help="the TFRecord files to predict, also packed by gzip, a glob; commas separate several"
    )
    output_file: str | None = option(
        None,
        group=_GROUP,
        help="the file to write, a CSV unless it ends in .jsonl or .parquet; an older one stays until the new one is "
        "complete",
    )
    output_path: str | None = option(
        None,
        group=_GROUP,
        help="instead of a CSV, a folder for JSON lines, prediction.results-00000-of-000NN, one for each input file; "
        "launch.convert_prediction_from_json_to_csv turns them into the same CSV",
    )
    output_format: str = option(CATEGORY, group=_GROUP, choices=OUTPUT_FORMATS, help=OUTPUT_FORMAT_HELP)
    top_k: int = option(20, group=_GROUP, at_least=1, help="most pairs per line, with --output_format=top_k")
    sample_submission: str | None = option(
        None, group=_GROUP, help="the CSV that the competition gives as a sample; the ids must be those in it"
    )
    train_dir: str | None = option(
        None, group=_GROUP, help="the folder of a training run, whose newest checkpoint is used"
    )
    eval_best: bool = option(
        False, group=_GROUP, help="of --train_dir, the checkpoint with the best Hit@1 in eval/metrics.jsonl instead"
    )
    model_dir: str | None = option(None, group=_GROUP, help="one export, e.g. TRAIN_DIR/export/step_100, instead")
    on_bad_record: str = option(
        FAIL,
        group=_GROUP,
        choices=(FAIL, QUARANTINE, DEFAULT),
        help="what becomes of a record that is damaged, has no id or does not decode: fail ends the run; quarantine "
        "leaves it out and lists it in OUTPUT.quarantine.csv; default writes --default_category for it, and lists "
        "those without an id",
    )
    default_category: int = option(
        0, group=_GROUP, at_least=0, help="the class that is written with --on_bad_record=default"
    )
    max_image_pixels: int = option(
        50_000_000, group=_GROUP, at_least=1, help="a picture whose header claims more pixels is a bad record"
    )
    batch_size: int = option(128, group=_GROUP, at_least=1, help="photos that one predictor takes at a time")
    max_worker_count: int = option(
        0, group=_GROUP, at_least=0, help="predictors at the most; 0: one for each CPU but one, which reads"
    )
    gpus_per_worker: float = option(0.0, group=_GROUP, at_least=0, help="GPUs of each predictor")
    placement_timeout_secs: float | None = option(
        None,
        group=_GROUP,
        at_least=0,
        help="seconds to wait for nodes to come up for the predictors; none: 900 where the cluster's autoscaler can "
        "bring them up, else 0",
    )
    num_readers: int = option(8, group=_GROUP, at_least=1, help="pieces of files read at the same time, at the most")

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
                "Exactly one output must be given",
                asked="neither --output_file nor --output_path" if self.output_file is None else "both of them",
                change="--output_file to a CSV, or --output_path to a folder for JSON lines",
            )
        if self.eval_best and (self.train_dir is None or self.model_dir is not None):
            raise UserError(
                "--eval_best chooses among the checkpoints of a training run",
                asked="--eval_best" + (f" --model_dir={self.model_dir}" if self.model_dir else ""),
                change="--train_dir alone to that run's folder, or leave --eval_best out",
            )
        if self.output_format != CATEGORY and not self.is_csv:
            raise UserError(
                "--output_format applies to a CSV only; JSON lines and Parquet hold all classes anyway",
                asked=f"--output_format={self.output_format} with {self.output_flag}={self.output}",
                change="leave --output_format out, or --output_file to a name that ends in .csv",
            )

    @classmethod
    def from_flags(cls, given: Mapping[str, Any]) -> Self:
        """See Options."""
        made = cls(**given)
        refuse_idle_top_k(given, made.output_format)
        if made.on_bad_record != DEFAULT:
            refuse_idle(
                given,
                ("default_category",),
                beside=f"--on_bad_record={made.on_bad_record}",
                change=f"or --on_bad_record={DEFAULT}",
            )
        if made.model_dir is not None:
            refuse_idle(
                given, ("train_dir",), beside="--model_dir", change="or leave --model_dir out, for its newest model"
            )
        return made

    @property
    def output(self) -> str:
        """The file or folder that the predictions go to."""
        return self.output_file or self.output_path or ""

    @property
    def output_flag(self) -> str:
        """The name of the flag that names the output, with its dashes."""
        return "--output_path" if self.output_path else "--output_file"

    @property
    def is_csv(self) -> bool:
        """True if the output is a CSV."""
        return self.output_file is not None and not self.output_file.endswith((".jsonl", ".parquet"))
