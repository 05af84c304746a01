"""Prediction runs in this process, on the Ray that it is connected to."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from cvd_cluster.prediction.input_files import PIECE_BYTES
from cvd_cluster.prediction.prediction_job import PredictionResult, run_prediction
from cvd_cluster.prediction.prediction_options import PredictionOptions

# Pictures that are this wide crash the process that predicts them; see served_model.py.
DEADLY_WIDTH = 13
OLD = "Id,Category\nan older submission,1\n"


@dataclass
class Runs:
    """Runs predictions into one folder and keeps their lines."""

    model_dir: Path
    folder: Path
    lines: list[str] = field(default_factory=list)

    @property
    def output(self) -> Path:
        return self.folder / "submission.csv"

    def predict(self, pattern: str, piece_bytes: int = PIECE_BYTES, **options: object) -> PredictionResult:
        # One predictor, unless a test is about several: each takes seconds to load TensorFlow.
        defaults = {"model_dir": str(self.model_dir), "output_file": str(self.output), "max_worker_count": 1}
        made = PredictionOptions(input_data_pattern=pattern, **{**defaults, **options})  # type: ignore[arg-type]
        return run_prediction(made, announce=self.lines.append, piece_bytes=piece_bytes)

    def assert_untouched(self) -> None:
        """The older submission is as it was, and nothing half-written lies beside it but parts that are finished."""
        assert self.output.read_text() == OLD
        assert {path.name for path in self.folder.iterdir()} <= {self.output.name, self.output.name + ".parts"}
