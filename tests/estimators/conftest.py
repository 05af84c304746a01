"""A run to evaluate, trained once."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from estimators.experiment_options import ExperimentOptions
from tests.estimators.small_run import small_options, train


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> ExperimentOptions:
    """Of a run with a checkpoint of each of the steps 0, 2, 4 and 6."""
    options = small_options(tmp_path_factory.mktemp("evaluation"), max_steps=6, save_checkpoints_steps=2)
    train(options)
    return options


@pytest.fixture
def run(finished: ExperimentOptions, tmp_path: Path) -> ExperimentOptions:
    """A train_dir as it is before there is a checkpoint."""
    options = dataclasses.replace(finished, train_dir=str(tmp_path / "run"))
    Path(options.train_dir).mkdir()
    shutil.copy(f"{finished.train_dir}/experiment.json", options.train_dir)
    return options


@pytest.fixture
def bring(finished: ExperimentOptions, run: ExperimentOptions) -> Callable[..., None]:
    """Puts checkpoints of these steps into the train_dir."""

    def copy(*steps: int) -> None:
        for step in steps:
            for path in Path(finished.train_dir).glob(f"model.ckpt-{step}.*"):
                shutil.copy(path, run.train_dir)

    return copy
