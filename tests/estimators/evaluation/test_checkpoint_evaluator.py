"""Signs of life of an evaluator."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from estimators.evaluation.checkpoint_evaluator import begin_report
from estimators.experiment_options import ExperimentOptions

pytestmark = pytest.mark.filterwarnings(r"ignore:`tf\.layers\.")


def test_an_evaluator_says_that_it_is_alive(run: ExperimentOptions) -> None:
    alive: list[bool] = []
    report = begin_report(run.train_dir, print, lambda: alive.append(True))
    assert alive == [], "its graph is to be built; from its first sign of life on less patience is had with it"
    assert Path(f"{run.train_dir}/eval/watched.json").exists(), "but the chief knows of it"
    for _ in range(5):
        report.beat()
    assert len(alive) == 1, "not more than once a second"


def test_a_sign_of_life_that_cannot_be_written_ends_no_evaluator(
    run: ExperimentOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(path: str, text: str) -> None:
        raise OSError(errno.ESTALE, "Stale file handle", path)

    monkeypatch.setattr("estimators.storage.write_text", fail)
    begin_report(run.train_dir, print).beat()
