from __future__ import annotations

import itertools
import json
import os
import time
from pathlib import Path

import pytest

from estimators import storage
from estimators.checkpoints import checkpoint_files
from tests.estimators.made_checkpoints import INDEX, write_checkpoint


def evaluated(train_dir: Path, *steps: int) -> None:
    (train_dir / "eval").mkdir(exist_ok=True)
    lines = [json.dumps({"global_step": step, "loss": 0.5}) for step in steps]
    (train_dir / "eval" / "metrics.jsonl").write_text("".join(line + "\n" for line in lines))


@pytest.mark.parametrize("name", ["run[12]", "lr=0.1,bs=64", "a*", "b?"])
def test_what_the_name_of_a_folder_means_to_a_pattern_deletes_nothing_elsewhere(tmp_path: Path, name: str) -> None:
    for folder in (tmp_path / name, tmp_path / "run1", tmp_path / "ab", tmp_path / "bc"):
        folder.mkdir()
        for step in (5, 10):
            write_checkpoint(folder, step)
    others = sorted(path for path in tmp_path.rglob("*-5.*") if path.parent.name != name)
    assert checkpoint_files.prune(str(tmp_path / name), keep=1, keep_unevaluated=False) == [5]
    assert not [path for path in (tmp_path / name).iterdir() if "-5." in path.name]
    assert sorted(path for path in tmp_path.rglob("*-5.*")) == others


def steps(train_dir: Path) -> list[int]:
    return [checkpoint.step for checkpoint in checkpoint_files.list_checkpoints(str(train_dir))]


def test_checkpoints_are_listed_oldest_first_by_number(tmp_path: Path) -> None:
    for step in (1000, 9, 0, 200):
        write_checkpoint(tmp_path, step)
    assert steps(tmp_path) == [0, 9, 200, 1000]
    latest = checkpoint_files.latest_checkpoint(str(tmp_path))
    assert latest == checkpoint_files.Checkpoint(1000, f"{tmp_path}/model.ckpt-1000")


def test_a_folder_without_checkpoints_or_no_folder_has_none(tmp_path: Path) -> None:
    (tmp_path / "checkpoint").write_text('model_checkpoint_path: "model.ckpt-7"')
    for folder in (tmp_path, tmp_path / "missing"):
        assert steps(folder) == [] and checkpoint_files.latest_checkpoint(str(folder)) is None


def test_a_checkpoint_that_is_being_written_is_not_listed(tmp_path: Path) -> None:
    write_checkpoint(tmp_path, 10)
    (tmp_path / "model.ckpt-20.data-00000-of-00001").write_bytes(b"data")  # no index yet
    for step, index in ((30, b""), (40, INDEX[:-1])):  # TensorFlow has begun to write the index
        write_checkpoint(tmp_path, step, index=index)
    (tmp_path / "model.ckpt-50_temp").mkdir()
    assert steps(tmp_path) == [10]


@pytest.mark.parametrize("missing", [0, 1, 2])
def test_a_checkpoint_that_lacks_a_shard_is_not_listed(tmp_path: Path, missing: int) -> None:
    write_checkpoint(tmp_path, 10, shards=3)
    assert steps(tmp_path) == [10]
    os.remove(tmp_path / f"model.ckpt-10.data-0000{missing}-of-00003")
    assert steps(tmp_path) == []


def test_metrics_are_read_in_the_order_of_evaluation(tmp_path: Path) -> None:
    assert (
        checkpoint_files.read_metrics(str(tmp_path)) == [] and checkpoint_files.evaluated_steps(str(tmp_path)) == set()
    )
    evaluated(tmp_path, 20, 0, 10)
    assert [row["global_step"] for row in checkpoint_files.read_metrics(str(tmp_path))] == [20, 0, 10]
    assert checkpoint_files.evaluated_steps(str(tmp_path)) == {0, 10, 20}


def test_an_evaluator_counts_as_there_for_two_minutes_after_it_said_so(tmp_path: Path) -> None:
    assert not checkpoint_files.awaits_evaluation(str(tmp_path), evaluator_planned=False)
    (tmp_path / "eval").mkdir()
    checkpoint_files.mark_watched(str(tmp_path))
    now = time.time()
    assert checkpoint_files.awaits_evaluation(str(tmp_path), evaluator_planned=False)
    assert checkpoint_files.awaits_evaluation(str(tmp_path), evaluator_planned=False, now=now + 100)
    assert not checkpoint_files.awaits_evaluation(str(tmp_path), evaluator_planned=False, now=now + 130)


def test_a_planned_evaluator_is_awaited_until_it_was_there_and_went_silent(tmp_path: Path) -> None:
    (tmp_path / "eval").mkdir()
    assert checkpoint_files.awaits_evaluation(str(tmp_path), evaluator_planned=True)
    checkpoint_files.mark_watched(str(tmp_path))
    assert checkpoint_files.awaits_evaluation(str(tmp_path), evaluator_planned=True)
    assert not checkpoint_files.awaits_evaluation(str(tmp_path), evaluator_planned=True, now=time.time() + 130)
    checkpoint_files.forget_evaluator(str(tmp_path))
    assert checkpoint_files.awaits_evaluation(str(tmp_path), evaluator_planned=True)


def test_the_newest_checkpoints_stay(tmp_path: Path) -> None:
    for step in (10, 20, 30, 40):
        write_checkpoint(tmp_path, step, shards=2)
    (tmp_path / "model.ckpt-100-notes.txt").write_text("mine")
    assert checkpoint_files.prune(str(tmp_path), keep=2, keep_unevaluated=False) == [10, 20]
    assert steps(tmp_path) == [30, 40]
    names = {path.name for path in tmp_path.iterdir()}
    assert not [name for name in names if name.startswith(("model.ckpt-10.", "model.ckpt-20."))]
    assert "model.ckpt-100-notes.txt" in names


def test_a_step_whose_number_begins_alike_is_not_taken_along(tmp_path: Path) -> None:
    for step in (1, 10, 100):
        write_checkpoint(tmp_path, step)
    assert checkpoint_files.prune(str(tmp_path), keep=2, keep_unevaluated=False) == [1]
    assert steps(tmp_path) == [10, 100]


def test_zero_keeps_all(tmp_path: Path) -> None:
    for step in (10, 20, 30):
        write_checkpoint(tmp_path, step)
    assert checkpoint_files.prune(str(tmp_path), keep=0, keep_unevaluated=False) == [] and steps(tmp_path) == [
        10,
        20,
        30,
    ]


def test_a_line_about_a_failed_evaluation_that_was_cut_off_keeps_nobody_from_pruning(tmp_path: Path) -> None:
    for step in (10, 20, 30):
        write_checkpoint(tmp_path, step)
    evaluated(tmp_path, 10)
    (tmp_path / "eval" / "failed.jsonl").write_text('{"global_step": 20, "error": "e", "time": 1.0}\n{"global_st')
    assert checkpoint_files.failed_steps(str(tmp_path)) == {20}
    assert checkpoint_files.prune(str(tmp_path), keep=1, keep_unevaluated=True) == [10, 20]


ALL = (0, 10, 20, 30)


@pytest.mark.parametrize("keep", [1, 2, 3, 9])
@pytest.mark.parametrize("done", [done for size in range(5) for done in itertools.combinations(ALL, size)])
def test_neither_the_newest_nor_one_that_is_not_evaluated_is_ever_deleted(
    tmp_path: Path, keep: int, done: tuple[int, ...]
) -> None:
    for step in ALL:
        write_checkpoint(tmp_path, step)
    evaluated(tmp_path, *done)
    gone = checkpoint_files.prune(str(tmp_path), keep=keep, keep_unevaluated=True)
    assert gone == [step for step in ALL[:-keep] if step in done]
    assert steps(tmp_path) == [step for step in ALL if step not in gone]


def test_a_checkpoint_is_taken_off_the_list_before_its_data_is_deleted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for step in (10, 20):
        write_checkpoint(tmp_path, step)
    deleted: list[str] = []
    monkeypatch.setattr(storage, "delete", lambda path: deleted.append(os.path.basename(path)))
    checkpoint_files.prune(str(tmp_path), keep=1, keep_unevaluated=False)
    assert deleted[0] == "model.ckpt-10.index"
