from __future__ import annotations

import contextlib
import dataclasses
from pathlib import Path

import pytest

from estimators import storage
from estimators.errors import UserError
from estimators.experiment_options import ExperimentOptions
from estimators.train_dir import experiment_file
from tests.estimators.made_checkpoints import write_checkpoint


def options(folder: Path, **values: object) -> ExperimentOptions:
    return ExperimentOptions(train_dir=str(folder), train_data_pattern="/d/*", **values)  # type: ignore[arg-type]


def names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A folder as a run of LogisticModel leaves it, and a few files that are none of the run's."""
    folder = tmp_path / "run"
    experiment_file.begin(options(folder), start_new_model=False)
    write_checkpoint(folder, 10)
    for name in ("export/step_10/saved_model.pb", "eval/metrics.jsonl", "logs/chief-0.log", "eval/watched.json"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("x")
    for name in ("checkpoint", "run_state.json", "events.out.tfevents.1.host", ".run_state.json.0a.partial"):
        (folder / name).write_text("x")
    (folder / "notes.txt").write_text("mine")
    (folder / "photos").mkdir()
    (folder / "photos" / "1.jpg").write_text("mine")
    return folder


def refused(wanted: ExperimentOptions, *, start_new_model: bool = False) -> UserError:
    with pytest.raises(UserError) as caught:
        experiment_file.check_train_dir(wanted, start_new_model=start_new_model)
    return caught.value


def test_a_new_run_stores_its_options(tmp_path: Path) -> None:
    wanted = options(tmp_path / "a" / "b", batch_size=7, eval_data_pattern="/e/*")
    experiment_file.check_train_dir(wanted, start_new_model=False)
    assert not (tmp_path / "a").exists(), "the check writes nothing"
    experiment_file.begin(wanted, start_new_model=False)
    assert experiment_file.read_experiment(str(tmp_path / "a" / "b")) == wanted


def test_a_folder_that_was_moved_is_read_under_its_new_name(run: Path) -> None:
    moved = run.rename(run.with_name("moved"))
    assert experiment_file.read_experiment(str(moved)).train_dir == str(moved)


def test_a_run_is_begun_anew_and_what_no_run_wrote_stays(run: Path) -> None:
    lines: list[str] = []
    wanted = options(run, model="CnnModel")
    experiment_file.check_train_dir(wanted, start_new_model=True)
    experiment_file.begin(wanted, start_new_model=True, announce=lines.append)
    assert names(run) == ["experiment.json", "notes.txt", "photos/1.jpg"]
    assert experiment_file.read_experiment(str(run)).model == "CnnModel"
    assert len(lines) == 1 and "notes.txt, photos" in lines[0]


def test_a_run_is_continued_with_all_that_it_has(run: Path) -> None:
    before = [name for name in names(run) if name != "eval/watched.json"]  # of an evaluator that was there before
    wanted = options(run, batch_size=9, num_epochs=50, base_learning_rate=0.1)
    experiment_file.check_train_dir(wanted, start_new_model=False)
    experiment_file.begin(wanted, start_new_model=False)
    assert names(run) == before and experiment_file.read_experiment(str(run)).batch_size == 9


def test_a_folder_that_is_no_training_folder_is_not_emptied(tmp_path: Path) -> None:
    for name in ("thesis.tex", "logs", "checkpoint"):
        (tmp_path / name).write_text("mine")
    error = refused(options(tmp_path), start_new_model=True)
    assert "nothing was deleted" in error.summary and "thesis.tex" in error.found
    assert names(tmp_path) == ["checkpoint", "logs", "thesis.tex"]


@pytest.mark.parametrize("proof", ["experiment.json", "model.ckpt-10.index"])
def test_options_or_a_checkpoint_prove_a_training_folder(tmp_path: Path, proof: str) -> None:
    (tmp_path / proof).write_text("{}")
    experiment_file.check_train_dir(options(tmp_path), start_new_model=True)


def test_an_empty_folder_and_none_at_all_can_be_begun_in(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "missing"):
        experiment_file.check_train_dir(options(folder), start_new_model=True)


@pytest.mark.parametrize("deletions", range(13))
def test_a_start_that_is_cut_off_leaves_a_folder_that_can_be_started_in_again(
    run: Path, monkeypatch: pytest.MonkeyPatch, deletions: int
) -> None:
    delete = storage.delete
    done: list[str] = []

    def delete_some(path: str) -> None:
        if len(done) == deletions:
            raise KeyboardInterrupt
        done.append(path)
        delete(path)

    with monkeypatch.context() as patched, contextlib.suppress(KeyboardInterrupt):
        patched.setattr(storage, "delete", delete_some)
        experiment_file.begin(options(run), start_new_model=True, announce=lambda line: None)
    experiment_file.check_train_dir(options(run), start_new_model=True)
    experiment_file.begin(options(run), start_new_model=True, announce=lambda line: None)
    assert names(run) == ["experiment.json", "notes.txt", "photos/1.jpg"]


@pytest.mark.parametrize(
    ("name", "value", "before"),
    [
        ("model", "CnnModel", "LogisticModel"),
        ("num_classes", 5, 2),
        ("image_size", 64, 32),
        ("optimizer", "AdagradOptimizer", "AdamOptimizer"),
    ],
)
def test_checkpoints_of_another_model_are_refused_with_both_values(
    run: Path, name: str, value: object, before: object
) -> None:
    error = refused(options(run, **{name: value}))
    assert f"--{name}={value}" in error.asked and f"--{name}={before}" in error.found
    assert "--start_new_model" in error.change


def test_without_a_checkpoint_everything_may_change(run: Path) -> None:
    for path in run.glob("model.ckpt-*"):
        path.unlink()
    experiment_file.check_train_dir(options(run, model="CnnModel", image_size=64), start_new_model=False)


def test_checkpoints_without_options_are_of_an_unknown_model(run: Path) -> None:
    (run / "experiment.json").unlink()
    assert "unknown model" in refused(options(run)).summary


def test_a_file_in_the_place_of_the_folder_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    assert "is a file" in refused(options(tmp_path / "file")).summary
    below = refused(options(tmp_path / "file" / "sub" / "run"))
    assert f"{tmp_path}/file is a file" in below.found and "--train_dir" in below.change


def test_a_folder_that_is_no_run_is_told_with_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    with pytest.raises(UserError) as caught:
        experiment_file.read_experiment(str(tmp_path))
    assert "no experiment.json" in caught.value.found and "model" in caught.value.found
    with pytest.raises(UserError, match="does not exist"):
        experiment_file.read_experiment(str(tmp_path / "missing"))


def test_options_that_are_damaged_or_of_another_version_are_told_with_the_file(run: Path) -> None:
    (run / "experiment.json").write_text('{"model": ')
    with pytest.raises(UserError, match=r"experiment\.json is not JSON"):
        experiment_file.read_experiment(str(run))
    experiment_file.write_experiment(options(run))
    text = (run / "experiment.json").read_text()
    (run / "experiment.json").write_text(text.replace('"batch_size"', '"batch_sizes"'))
    with pytest.raises(UserError, match="batch_sizes"):
        experiment_file.read_experiment(str(run))


def test_options_are_the_same_after_a_second_look(run: Path) -> None:
    wanted = dataclasses.replace(options(run), seed=5)
    experiment_file.write_experiment(wanted)
    assert experiment_file.read_experiment(str(run)) == wanted


def test_results_of_named_evaluations_go_and_validation_files_that_are_called_alike_stay(run: Path) -> None:
    for path in ("eval_part/metrics.jsonl", "eval_part/events.out.tfevents.1.vm", "eval_data/validation-0"):
        (run / path).parent.mkdir(exist_ok=True)
        (run / path).write_text("x")
    (run / "eval_notes").write_text("of the user's own")
    experiment_file.begin(options(run), start_new_model=True, announce=lambda line: None)
    assert not (run / "eval_part").exists()
    assert (run / "eval_data" / "validation-0").exists() and (run / "eval_notes").exists()
