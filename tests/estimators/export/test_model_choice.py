"""Which checkpoint predicts: the newest, or the best of those that are still there."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from estimators.errors import UserError
from estimators.export.model_choice import best_model, model_at, newest_model
from estimators.train_dir.exports import SAVED_MODEL
from tests.estimators.drawn_records import cut
from tests.estimators.made_checkpoints import write_checkpoint


def _run(folder: Path, *, kept: list[int], exported: list[int], rates: Mapping[int, object] | None = None) -> str:
    for step in exported:
        made = folder / "export" / f"step_{step}"
        made.mkdir(parents=True)
        (made / SAVED_MODEL).touch()
    for step in kept:
        write_checkpoint(folder, step)
    if rates is not None:
        (folder / "eval").mkdir()
        lines = [json.dumps({"global_step": step, "hit_at_1": rate}) for step, rate in rates.items()]
        (folder / "eval" / "metrics.jsonl").write_text("\n".join(lines) + "\n")
    return str(folder)


@pytest.mark.parametrize(
    ("kept", "exported", "step", "to_export"),
    [
        ([5, 10], [5], 10, True),
        ([5, 10], [10], 10, False),
        ([5], [10], 10, False),
        ([5], [], 5, True),
        ([], [7], 7, False),
    ],
)
def test_the_newest_checkpoint_is_taken_and_exported_if_no_export_is_as_new(tmp_path, kept, exported, step, to_export):
    model = newest_model(_run(tmp_path, kept=kept, exported=exported, rates={step: 0.75}))
    assert (model.step, model.model_dir) == (step, str(tmp_path / "export" / f"step_{step}"))
    assert (model.checkpoint is not None) is to_export
    assert model.metrics == {"global_step": step, "hit_at_1": 0.75}


def test_a_torn_checkpoint_is_passed_over(tmp_path):
    folder = _run(tmp_path, kept=[5, 10, 15], exported=[5], rates={5: 0.5, 10: 0.75, 15: 0.875})
    cut(str(tmp_path / "model.ckpt-15.data-00000-of-00001"), 3)
    assert newest_model(folder).step == 10 and best_model(folder, print).step == 10


def test_without_checkpoint_and_export_there_is_no_model(tmp_path):
    with pytest.raises(UserError, match="No exported model"):
        newest_model(_run(tmp_path, kept=[], exported=[]))


RATES = {5: 0.75, 10: 0.875, 15: 0.875, 20: 0.5, 25: float("nan"), 30: None}


@pytest.mark.parametrize(
    ("kept", "exported", "step", "told"),
    [
        ([10, 15, 20, 25], [], 15, 0),
        ([], [10, 15, 20], 15, 0),
        ([20], [5], 5, 1),
        ([20, 25, 30], [], 20, 1),
    ],
)
def test_the_best_is_the_newest_with_the_highest_rate_among_those_that_are_there(tmp_path, kept, exported, step, told):
    lines: list[str] = []
    model = best_model(_run(tmp_path, kept=kept, exported=exported, rates=RATES), lines.append)
    assert model.step == step and (model.checkpoint is None) is (step in exported)
    assert len(lines) == told and all("0.8750 at step 15, is not kept" in line for line in lines)


@pytest.mark.parametrize("rates", [None, {}, {7: 0.5}])
def test_without_an_evaluated_checkpoint_there_is_no_best(tmp_path, rates):
    with pytest.raises(UserError, match="No best checkpoint") as caught:
        best_model(_run(tmp_path, kept=[10], exported=[], rates=rates), print)
    assert "launch.eval" in caught.value.change


def test_of_a_folder_elsewhere_nothing_is_known(tmp_path):
    assert model_at("/somewhere/model").step is None
    folder = _run(tmp_path, kept=[], exported=[5], rates={5: 0.75})
    model = model_at(f"{folder}/export/step_5/")
    assert model.step == 5 and model.metrics == {"global_step": 5, "hit_at_1": 0.75}
