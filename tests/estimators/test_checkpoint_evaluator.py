"""Signs of life of an evaluator."""

from __future__ import annotations

import pytest

from estimators.checkpoint_evaluator import begin_report
from estimators.experiment_options import ExperimentOptions

pytestmark = pytest.mark.filterwarnings(r"ignore:`tf\.layers\.")


def test_an_evaluator_says_that_it_is_alive(run: ExperimentOptions) -> None:
    alive: list[bool] = []
    report = begin_report(run.train_dir, print, lambda: alive.append(True))
    for _ in range(5):
        report.beat()
    assert len(alive) == 1, "not more than once a second"
