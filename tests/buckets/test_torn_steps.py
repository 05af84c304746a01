"""Writers that die between any two of their steps: what others then see in the bucket is whole, or is not there."""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from cvd_cluster.prediction.bad_records import quarantine
from cvd_cluster.prediction.files_beside import quarantine_path
from cvd_cluster.prediction.submission_output import csv_output, json_output
from estimators import storage
from estimators.checkpoints.checkpoint_files import Checkpoint, latest_checkpoint, list_checkpoints, prune
from estimators.checkpoints.torn_checkpoints import check_sound, set_torn_aside
from estimators.data_set.matching_files import matching_files
from estimators.data_set.new_folder import check_is_new, new_folder
from estimators.errors import DataError, UserError
from estimators.train_dir.exports import SAVED_MODEL, exported_steps, newest_export
from tests.buckets.emulator import Emulator
from tests.estimators.made_checkpoints import DATA, made_index


def die_at_each_step(
    emulator: Emulator, prepare: Callable[[int], str], act: Callable[[str], object], look: Callable[[str], None]
) -> int:
    """Has `act` die after no step, one, two, … until it comes to its end; `look` sees what is there each time.

    From its death on a writer writes nothing: neither the rest nor what would clean up.

    Returns:
      How many steps it has.
    """
    for steps in itertools.count():
        folder = prepare(steps)
        emulator.steps_left = steps
        died = True
        with contextlib.suppress(OSError, UserError):
            act(folder)
            died = False
        all_let_through = emulator.steps_left >= 0
        emulator.steps_left = None
        look(folder)
        if all_let_through:
            assert not died
            return steps
        assert steps < 50
    raise AssertionError


def write_checkpoint(train_dir: str, step: int) -> None:
    with storage.written_whole(f"{train_dir}/model.ckpt-{step}.data-00000-of-00001") as file:
        file.write(DATA)
    with storage.written_whole(f"{train_dir}/model.ckpt-{step}.index") as file:
        file.write(made_index())


def test_an_export_is_there_with_all_its_files_or_not(emulator: Emulator, bucket: str, tmp_path: Path) -> None:
    files = {SAVED_MODEL: "graph", "variables/variables.index": "index", "variables/variables.data": "data"}
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    seen: list[list[int]] = []

    def look(run: str) -> None:
        seen.append(exported_steps(run))
        if seen[-1]:
            folder = newest_export(run)
            assert {name: storage.read_text(f"{folder}/{name}") for name in files} == files

    def act(run: str) -> None:
        storage.publish_folder(str(tmp_path), f"{run}/export/step_7", last=SAVED_MODEL)

    assert die_at_each_step(emulator, lambda steps: f"{bucket}/{steps}", act, look) == 3
    assert seen == [[], [], [], [7]]
    act(f"{bucket}/2")  # what a dead one has left is in nobody's way
    look(f"{bucket}/2")
    assert seen[-1] == [7]


def test_a_data_set_is_read_when_it_is_complete_and_not_before(emulator: Emulator, bucket: str) -> None:
    read: list[int] = []

    def act(folder: str) -> None:
        with new_folder(folder) as staging:
            for shard in range(3):
                storage.write_text(f"{staging}/train/train-0000{shard}-of-00003", f"{shard}")
            storage.write_text(f"{staging}/manifest.json", "{}")

    def look(folder: str) -> None:
        with contextlib.suppress(UserError):  # no file, or DataError: not complete
            read.append(len(matching_files(f"{folder}/train/*", flag="train_data_pattern")))
        assert set(read) <= {3}

    steps = die_at_each_step(emulator, lambda steps: f"{bucket}/{steps}", act, look)
    assert steps == 8 and read == [3]  # an object to try whether it can be written, and its deletion, are two of them
    with pytest.raises(DataError, match="is not complete"):
        matching_files(f"{bucket}/5/train/*", flag="train_data_pattern")
    with pytest.raises(UserError, match="cannot be written") as caught:
        check_is_new(f"{bucket}/5")
    assert "cut off" in caught.value.found


def _half_of(folder: str) -> str:
    storage.write_text(f"{folder}/train/train-00000-of-00001", "half")
    return f"{folder}/another"


def test_a_conversion_that_fails_leaves_nothing(bucket: str) -> None:
    with pytest.raises(FileNotFoundError), new_folder(f"{bucket}/set") as staging:
        storage.rename(f"{staging}/missing", _half_of(staging))
    assert storage.list_dir(bucket) == []


def test_no_submission_is_seen_without_the_list_of_what_it_lacks(emulator: Emulator, bucket: str) -> None:
    published = []

    def prepare(steps: int) -> str:
        return f"{bucket}/{steps}/out.csv"

    def act(path: str) -> None:
        with quarantine(path) as bad, csv_output(path, "category", 1, ready=bad.publish):
            bad.write(b"a bad record\n")

    def look(path: str) -> None:
        published.append((storage.exists(quarantine_path(path)), storage.exists(path)))

    die_at_each_step(emulator, prepare, act, look)
    assert published == [(False, False), (True, False), (True, True)]


def test_an_older_submission_stays_whole_until_the_new_one_is(emulator: Emulator, bucket: str) -> None:
    new = "new" * (4 << 20)  # more than one request takes

    def prepare(steps: int) -> str:
        storage.write_text(f"{bucket}/{steps}", "old")
        return f"{bucket}/{steps}"

    def look(path: str) -> None:
        assert storage.read_text(path) in ("old", new)
        assert storage.list_dir(bucket)[-1] == path.rpartition("/")[2], "no part of it lies about"

    assert die_at_each_step(emulator, prepare, lambda path: storage.write_text(path, new), look) >= 1


def test_lines_that_are_appended_are_all_there_or_not(emulator: Emulator, bucket: str) -> None:
    def act(path: str) -> None:
        for line in ("one", "two", "three"):
            storage.append_line(path, line)

    def look(path: str) -> None:
        text = storage.read_text(path) if storage.exists(path) else ""
        assert text in ("", "one\n", "one\ntwo\n", "one\ntwo\nthree\n")

    assert die_at_each_step(emulator, lambda steps: f"{bucket}/{steps}/metrics.jsonl", act, look) == 3


def test_a_checkpoint_that_is_pruned_is_listed_whole_or_not_at_all(emulator: Emulator, bucket: str) -> None:
    def prepare(steps: int) -> str:
        for step in (1, 2):
            write_checkpoint(f"{bucket}/{steps}", step)
        return f"{bucket}/{steps}"

    def look(run: str) -> None:
        for checkpoint in list_checkpoints(run):
            assert storage.exists(f"{checkpoint.prefix}.data-00000-of-00001")
        assert latest_checkpoint(run) == Checkpoint(2, f"{run}/model.ckpt-2")

    die_at_each_step(emulator, prepare, lambda run: prune(run, keep=1, keep_unevaluated=False), look)


def test_setting_a_torn_checkpoint_aside_goes_on_where_it_was_cut_off(emulator: Emulator, bucket: str) -> None:
    def prepare(steps: int) -> str:
        run = f"{bucket}/{steps}"
        for step in (1, 2):
            write_checkpoint(run, step)
        storage.write_text(f"{run}/model.ckpt-2.data-00000-of-00001", "short")
        storage.write_text(f"{run}/checkpoint", 'model_checkpoint_path: "model.ckpt-2"\n')
        return run

    def look(run: str) -> None:
        newest = check_sound(run).newest
        assert newest is not None and newest.step == 1
        set_torn_aside(run, announce=lambda line: None)
        assert 'model_checkpoint_path: "model.ckpt-1"' in storage.read_text(f"{run}/checkpoint")
        assert [one.step for one in list_checkpoints(run)] == [1]
        kept = [os.path.basename(name) for name in storage.names_below(f"{run}/torn")]
        assert {"model.ckpt-2.index", "model.ckpt-2.data-00000-of-00001"} <= set(kept), "nothing is lost"

    act = lambda run: set_torn_aside(run, announce=lambda line: None)  # noqa: E731
    assert die_at_each_step(emulator, prepare, act, look) >= 5


def test_results_in_json_are_moved_to_their_names_when_all_are_written(emulator: Emulator, bucket: str) -> None:
    def act(folder: str) -> None:
        with json_output(folder, 2):
            pass

    def look(folder: str) -> None:
        names = [name for name in storage.list_dir(folder) if not storage.is_hidden_partial(name)]
        assert names in ([], ["prediction.results-00000-of-00002"], [
            "prediction.results-00000-of-00002", "prediction.results-00001-of-00002",
        ])  # fmt: skip
        # Of files that are missing the converter tells by their names; see require_all_shards.

    assert die_at_each_step(emulator, lambda steps: f"{bucket}/{steps}", act, look) >= 6
