from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from estimators.errors import UserError
from estimators.experiment_options import ExperimentOptions
from estimators.preparation import prepare_run
from estimators.training_plan import TrainingPlan
from tests.estimators.drawn_records import numbered_file, record, write_file

ROOT = Path(__file__).parents[2]


@pytest.fixture
def options(tmp_path: Path) -> ExperimentOptions:
    (tmp_path / "data").mkdir()
    for i in range(2):
        numbered_file(tmp_path / "data" / f"train-{i}", range(10 * i, 10 * i + 10))
    numbered_file(tmp_path / "data" / "validation", range(6))
    return ExperimentOptions(
        train_dir=str(tmp_path / "run"), train_data_pattern=f"{tmp_path}/data/train-*", batch_size=4, num_epochs=2
    )


def changed(options: ExperimentOptions, **values: object) -> ExperimentOptions:
    return ExperimentOptions(**{**options.to_json(), **values})


def prepare(options: ExperimentOptions, *, start_new_model: bool = False) -> tuple[TrainingPlan, list[str]]:
    lines: list[str] = []
    plan = prepare_run(
        options,
        strategy="multi_worker_mirrored",
        num_workers=2,
        start_new_model=start_new_model,
        announce=lines.append,
    )
    return plan, lines


def files_below(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_run_is_planned_and_told_and_nothing_is_written(options: ExperimentOptions, tmp_path: Path) -> None:
    before = files_below(tmp_path)
    plan, lines = prepare(changed(options, eval_data_pattern=f"{tmp_path}/data/validation"), start_new_model=True)
    assert (plan.train_data.examples, plan.examples_per_step, plan.max_steps) == (20, 8, 5)
    assert plan.eval_data is not None and plan.eval_data.examples == 6
    (line,) = lines
    assert line == "LogisticModel, CrossEntropyLoss: 20 examples in 2 files, 8 a step, 5 steps; 6 to evaluate on"
    assert files_below(tmp_path) == before and not (tmp_path / "run").exists()


def test_no_evaluator_runs_without_validation_data(options: ExperimentOptions) -> None:
    plan, lines = prepare(options)
    assert plan.eval_data is None and "to evaluate" not in lines[0]


@pytest.mark.parametrize(
    ("values", "flag"),
    [
        ({"model": "Foo"}, "--model=Foo"),
        ({"label_loss": "Foo"}, "--label_loss=Foo"),
        ({"train_data_pattern": "/nowhere/*"}, "--train_data_pattern=/nowhere/*"),
        ({"eval_data_pattern": "/nowhere/*"}, "--eval_data_pattern=/nowhere/*"),
        ({"model": "no_such_module:Model"}, "--model=no_such_module:Model"),
    ],
)
def test_each_mistake_is_told_with_its_flag_and_nothing_is_written(
    options: ExperimentOptions, tmp_path: Path, values: dict[str, object], flag: str
) -> None:
    before = files_below(tmp_path)
    with pytest.raises(UserError) as caught:
        prepare(changed(options, **values), start_new_model=True)
    assert flag in caught.value.asked and files_below(tmp_path) == before


def test_a_bad_validation_record_is_told_with_the_evaluations_flag(options: ExperimentOptions, tmp_path: Path) -> None:
    path = write_file(tmp_path / "data" / "bad", [record(1, label=9)])
    with pytest.raises(UserError) as caught:
        prepare(changed(options, eval_data_pattern=path))
    assert "--eval_data_pattern" in caught.value.change and path in caught.value.found


def test_a_folder_that_is_no_training_folder_is_refused_before_the_data_is_read(
    options: ExperimentOptions, tmp_path: Path
) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.tex").write_text("mine")
    with pytest.raises(UserError, match="nothing was deleted"):
        prepare(changed(options, train_data_pattern="/nowhere/*"), start_new_model=True)


def test_built_in_classes_are_prepared_for_without_importing_tensorflow(options: ExperimentOptions) -> None:
    code = (
        "import json, sys\n"
        "from estimators.experiment_options import ExperimentOptions\n"
        "from estimators.preparation import prepare_run\n"
        "options = ExperimentOptions.from_json(json.loads(sys.argv[1]), source='test')\n"
        "prepare_run(options, strategy='local', num_workers=1, start_new_model=False)\n"
        "assert not {'tensorflow', 'ray'} & set(sys.modules)"
    )
    argv = [sys.executable, "-c", code, json.dumps(options.to_json())]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
