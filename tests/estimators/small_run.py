"""A small data set, and training on it in this process."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from estimators.experiment import Experiment
from estimators.experiment_options import ExperimentOptions
from estimators.preparation import prepare_run
from estimators.train_dir import experiment_file
from estimators.train_dir.generation import begin_generation
from tests.estimators.drawn_records import numbered_file


@dataclass
class Recorder:
    """A reporter that keeps what it is told, and checks it."""

    lines: list[str] = field(default_factory=list)
    progressed: list[tuple[int, int]] = field(default_factory=list)
    saved: list[int] = field(default_factory=list)
    finished: list[int] = field(default_factory=list)
    stopped: list[int] = field(default_factory=list)

    def line(self, text: str) -> None:
        assert isinstance(text, str) and "\n" not in text
        self.lines.append(text)

    def progress(self, global_step: int, local_steps: int) -> None:
        assert local_steps > 0 and not self.finished
        self.progressed.append((global_step, local_steps))

    def checkpoint_saved(self, global_step: int) -> None:
        self.saved.append(global_step)

    def training_finished(self, global_step: int) -> None:
        assert not self.finished, "it is told once"
        self.finished.append(global_step)

    def training_stopped(self, global_step: int) -> None:
        assert not self.finished and not self.stopped, "it is told once"
        self.stopped.append(global_step)

    def lines_with(self, start: str) -> list[str]:
        return [line for line in self.lines if line.startswith(start)]


def small_options(folder: Path, **values: object) -> ExperimentOptions:
    """LogisticModel on 24 pictures of 8x8, batches of 4, into `folder`/run; the data is made if it is missing."""
    data = folder / "data"
    if not data.exists():
        data.mkdir()
        for i in range(3):
            numbered_file(data / f"train-{i}", range(80 * i, 80 * i + 8))
        numbered_file(data / "validation-0", range(30, 36))
        numbered_file(data / "validation-1", range(200, 204))
    defaults = {
        "train_dir": str(folder / "run"),
        "train_data_pattern": f"{data}/train-*",
        "image_size": 8,
        "batch_size": 4,
        "log_every_n_steps": 1,
        "seed": 1,
    }
    return ExperimentOptions(**{**defaults, **values})  # type: ignore[arg-type]


def train(options: ExperimentOptions, *, start_new_model: bool = False) -> Recorder:
    """Trains to the last step, as a run without a cluster does."""
    plan = prepare_run(
        options, strategy="local", num_workers=1, start_new_model=start_new_model, announce=lambda line: None
    )
    experiment_file.begin(options, start_new_model=start_new_model)
    reporter = Recorder()
    with tempfile.TemporaryDirectory() as scratch_dir:
        Experiment(options, plan, "chief", 0, scratch_dir, reporter, begin_generation(options.train_dir)).train()
    return reporter
