from __future__ import annotations

import collections
import itertools
import re
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import psutil
import pytest
import tensorflow as tf

from estimators.experiment_options import ExperimentOptions
from estimators.inputs import input_fns
from estimators.inputs.data_check import DataFiles
from estimators.inputs.input_fns import NOTHING_LEFT, chosen_cache, eval_input_fn, train_input_fn
from estimators.inputs.skipped_records import SkippedRecords
from estimators.inputs.worker_shards import WorkerShard, shard_for_evaluator, shard_for_worker
from estimators.records.record_schema import serialize_example
from tests.estimators.drawn_records import cut, flip, noisy_picture, numbered_file, offset_of, record, write_file


def options(**values: object) -> ExperimentOptions:
    defaults = {"train_dir": "/t", "train_data_pattern": "/d", "image_size": 8, "batch_size": 1, "cache": "none"}
    return ExperimentOptions(**{**defaults, **values})  # type: ignore[arg-type]


def data_files(folder: Path, *counts: int) -> DataFiles:
    """Files with so many records each, numbered through."""
    starts = [0, *itertools.accumulate(counts)]
    paths = [numbered_file(folder / f"f-{i}", range(starts[i], starts[i + 1])) for i in range(len(counts))]
    return DataFiles(tuple(paths), counts)


def batches(dataset: Any, count: int | None = None) -> Iterator[tuple[list[int], list[int]]]:
    """(numbers, labels) of each batch; the number of a picture is its grey."""
    for features, labels in itertools.islice(dataset.as_numpy_iterator(), count):
        images = features["image"]
        assert images.dtype == np.float32 and images.shape[1:] == (8, 8, 3) and labels.dtype == np.int64
        greys = np.rint((images + 1) * 127.5).astype(int)
        assert (greys == greys[:, :1, :1, :1]).all(), "one picture is of one grey"
        yield greys[:, 0, 0, 0].tolist(), labels.tolist()


def training(
    data: DataFiles, worker_index: int = 0, num_workers: int = 1, *, scratch: object = "", **values: object
) -> Any:
    made = options(**values)
    shard = shard_for_worker(data, worker_index, num_workers)
    skipped = SkippedRecords(lambda line: None)
    return train_input_fn(made, shard, num_workers=num_workers, scratch_dir=str(scratch), skipped=skipped)()


def numbers(dataset: Any, count: int) -> list[int]:
    return [number for batch, _ in batches(dataset, count) for number in batch]


# --- which worker reads what


def records_read(data: DataFiles, shard: WorkerShard) -> list[tuple[str, int]]:
    records = [(path, i) for path, count in zip(data.paths, data.counts, strict=True) for i in range(count)]
    mine = [entry for entry in records if entry[0] in shard.files]
    return mine[shard.offset :: shard.every]


@pytest.mark.parametrize(
    ("counts", "num_workers"),
    [
        (counts, num_workers)
        for size in (1, 2, 4)
        for counts in itertools.product((0, 1, 5), repeat=size)
        for num_workers in (1, 2, 3, 5)
        if sum(counts) >= num_workers  # fewer examples than workers are refused before
    ],
)
def test_each_record_belongs_to_one_worker_and_no_worker_is_without(counts: tuple[int, ...], num_workers: int) -> None:
    data = DataFiles(tuple(f"f-{i}" for i in range(len(counts))), counts)
    shards = [shard_for_worker(data, index, num_workers) for index in range(num_workers)]
    read = [records_read(data, shard) for shard in shards]
    whole = records_read(data, WorkerShard(data.paths, 1, 0, data.examples))
    assert sorted(itertools.chain(*read)) == sorted(whole)
    assert [len(mine) for mine in read] == [shard.examples for shard in shards] and all(read)


def test_whole_files_are_shared_out_where_there_are_enough() -> None:
    shard = shard_for_worker(DataFiles(("a", "b", "c", "d", "e"), (1, 2, 3, 4, 5)), 1, 2)
    assert shard == WorkerShard(("b", "d"), 1, 0, 6)


@pytest.mark.parametrize(
    ("counts", "num_workers", "skip"),
    [((12,), 2, False), ((7, 5), 3, False), ((7, 5), 3, True), ((4, 4, 4), 2, False), ((0, 9, 3), 3, False)],
)
def test_in_each_pass_the_workers_together_read_every_record_once(
    tmp_path: Path, counts: tuple[int, ...], num_workers: int, skip: bool
) -> None:
    # Each worker draws an order of its own; that must not decide which records are whose.
    data = data_files(tmp_path, *counts)
    read: list[int] = []
    for index in range(num_workers):
        size = shard_for_worker(data, index, num_workers).examples
        dataset = training(data, index, num_workers, on_bad_record="skip" if skip else "fail", num_readers=2)
        first, second = numbers(dataset, size), numbers(dataset, size)
        assert sorted(first) == sorted(second)
        read += first
    assert sorted(read) == list(range(12))


# --- training batches


def test_training_batches_are_full_never_end_and_carry_their_labels(tmp_path: Path) -> None:
    dataset = training(data_files(tmp_path, 3, 4), batch_size=5)
    assert dataset.element_spec[0]["image"].shape == (5, 8, 8, 3) and dataset.element_spec[1].shape == (5,)
    made = list(batches(dataset, 14))
    assert all(len(mine) == 5 for mine, _ in made)
    assert all(label == number % 2 for mine, labels in made for number, label in zip(mine, labels, strict=True))
    counted = collections.Counter(number for mine, _ in made for number in mine)
    assert counted == dict.fromkeys(range(7), 10), "70 examples are ten passes over 7"


def test_a_batch_may_be_larger_than_the_data(tmp_path: Path) -> None:
    ((mine, _),) = batches(training(data_files(tmp_path, 3), batch_size=9), 1)
    assert collections.Counter(mine) == {0: 3, 1: 3, 2: 3}


@pytest.mark.parametrize("cache", ["memory", "disk", "none"])
def test_each_cache_gives_the_same_pictures_in_a_new_order_in_each_pass(tmp_path: Path, cache: str) -> None:
    data = data_files(tmp_path, 10, 14)
    made = numbers(training(data, cache=cache, scratch=tmp_path), 5 * 24)
    passes = [made[start : start + 24] for start in range(0, len(made), 24)]
    assert all(sorted(one) == list(range(24)) for one in passes)
    assert len(set(map(tuple, passes))) == 5


def test_the_disk_cache_lies_in_the_scratch_folder_of_the_task(tmp_path: Path) -> None:
    (tmp_path / "scratch").mkdir()
    numbers(training(data_files(tmp_path, 6), cache="disk", scratch=tmp_path / "scratch"), 12)
    assert list((tmp_path / "scratch").iterdir())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["f-0", "scratch"]


@pytest.mark.parametrize("cache", ["memory", "disk"])
def test_a_cached_picture_is_decoded_once(tmp_path: Path, cache: str) -> None:
    data = data_files(tmp_path, 6)
    made = training(data, cache=cache, scratch=tmp_path).as_numpy_iterator()
    for _ in range(12):
        next(made)
    Path(data.paths[0]).unlink()
    for _ in range(60):
        next(made)


def test_a_seed_gives_the_same_batches_in_each_run(tmp_path: Path) -> None:
    data = data_files(tmp_path, 10, 14, 3)
    first, again = (numbers(training(data, seed=5), 80) for _ in range(2))
    other = numbers(training(data, seed=6), 80)
    assert first == again != other


def test_a_seed_changes_pictures_in_the_same_way_in_each_run_and_anew_in_each_pass(tmp_path: Path) -> None:
    data = data_files(tmp_path, 6)

    def passes(seed: int) -> Any:
        """The pictures of two passes, in the order of their greys before they were changed."""
        made = training(data, seed=seed, augment=True, batch_size=6).as_numpy_iterator()
        plain = training(data, seed=seed, batch_size=6)
        orders = [np.argsort(numbers_of_batch) for numbers_of_batch, _ in batches(plain, 2)]
        return np.stack([next(made)[0]["image"][order] for order in orders])

    first, again, other = passes(5), passes(5), passes(6)
    np.testing.assert_array_equal(first, again)
    for picture in range(6):
        assert np.abs(first[0, picture] - first[1, picture]).max() > 0.01, "anew in each pass"
        assert np.abs(first[0, picture] - other[0, picture]).max() > 0.01, "another seed, another change"


def test_pictures_are_shuffled_beyond_the_buffers_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(input_fns, "_SHUFFLE_BYTES", 4 * 8 * 8 * 3)
    made = numbers(training(data_files(tmp_path, 10, 10)), 40)
    assert sorted(made[:20]) == sorted(made[20:]) == list(range(20))


def test_auto_keeps_in_memory_what_fits_for_all_workers_and_else_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=4 * 100 * 8 * 8 * 3))
    auto = options(cache="auto")
    assert chosen_cache(auto, 100, 1) == "memory" and chosen_cache(auto, 101, 1) == "none"
    assert chosen_cache(auto, 50, 2) == "memory" and chosen_cache(auto, 51, 2) == "none"
    for cache in ("memory", "disk", "none"):
        assert chosen_cache(options(cache=cache), 10**9, 1) == cache


# --- evaluation batches


def test_evaluation_reads_every_record_once_and_in_order(tmp_path: Path) -> None:
    data = data_files(tmp_path, 3, 0, 4)
    dataset = eval_input_fn(options(num_readers=1), data, batch_size=3, skipped=SkippedRecords(print))()
    for _ in range(2):
        assert list(batches(dataset)) == [([0, 1, 2], [0, 1, 0]), ([3, 4, 5], [1, 0, 1]), ([6], [0])]


def evaluation_parts(
    data: DataFiles, count: int, batch_size: int, **values: object
) -> tuple[list[list[tuple[list[int], list[int]]]], int]:
    """The batches of each of several processes, and how many records they skipped in all."""
    read, skipped_in_all = [], 0
    for index in range(count):
        skipped = SkippedRecords(lambda line: None)
        part = shard_for_evaluator(data, index, count, batch_size)
        dataset = eval_input_fn(options(**values), data, batch_size=batch_size, skipped=skipped, part=part)()
        read.append(list(batches(dataset)))
        skipped_in_all += skipped.count
    return read, skipped_in_all


@pytest.mark.parametrize("mode", ["fail", "skip"])
@pytest.mark.parametrize(("count", "batch_size"), [(2, 3), (3, 4), (5, 1), (4, 100)])
def test_processes_that_evaluate_together_make_the_batches_that_one_makes(
    tmp_path: Path, mode: str, count: int, batch_size: int
) -> None:
    data = data_files(tmp_path, 5, 0, 9, 2)
    ((whole,), _) = evaluation_parts(data, 1, batch_size, on_bad_record=mode)
    parts, skipped = evaluation_parts(data, count, batch_size, on_bad_record=mode)
    assert parts == [whole[index::count] for index in range(count)] and skipped == 0
    told = [shard_for_evaluator(data, index, count, batch_size).examples for index in range(count)]
    assert told == [sum(len(labels) for _, labels in part) for part in parts]


@pytest.mark.parametrize("batch_size", [1, 2, 4])
def test_processes_that_evaluate_together_skip_each_bad_record_once_and_keep_their_batches(
    tmp_path: Path, batch_size: int
) -> None:
    data = data_files(tmp_path, 6, 6)
    flip(data.paths[0], offset_of(map(record, range(2))) + 40)
    cut(data.paths[1], offset_of(map(record, range(6, 10))) + 20)
    bad = write_file(tmp_path / "bad", [record(50), record(51, label=7), record(52), record(53, label=7)])
    data = DataFiles((*data.paths, bad), (6, 4, 4))
    ((whole,), skipped_by_one) = evaluation_parts(data, 1, batch_size, on_bad_record="skip")
    parts, skipped = evaluation_parts(data, 3, batch_size, on_bad_record="skip")
    assert skipped == skipped_by_one == 4
    assert sorted(itertools.chain(*parts)) == sorted(whole)
    assert sum(len(labels) for _, labels in whole) == 11


# --- bad records


BAD = {
    "no label": (record(99, label=None), "99.jpg: .*image/class/label"),
    "label too high": (record(99, label=2), r"99\.jpg: .*label.*2.*--num_classes"),
    "label below 0": (record(99, label=-2), r"99\.jpg: .*label"),
    "no picture format": (serialize_example(b"hello", "99.jpg", 0), r"99\.jpg: Unknown image file format"),
    "most of a picture": (serialize_example(noisy_picture()[:-2000], "99.jpg", 0), r"99\.jpg: .*(?i:jpeg)"),
    "no picture": (serialize_example(b"", "99.jpg", 0), r"99\.jpg: "),
    "no example": (b"\x07garbage", "a record without an id: Could not parse"),
    "no id and no picture": (serialize_example(b"hello", "", 0), "a record without an id: Unknown image"),
}


def read_skipping(data: DataFiles, **values: object) -> tuple[list[int], list[str], int]:
    lines: list[str] = []
    skipped = SkippedRecords(lines.append)
    made = options(on_bad_record="skip", **values)
    dataset = eval_input_fn(made, data, batch_size=4, skipped=skipped)()
    read = [number for batch, _ in batches(dataset) for number in batch]
    return read, lines, skipped.count


@pytest.mark.parametrize("name", BAD)
def test_a_bad_record_ends_reading_or_is_skipped_named_and_counted(tmp_path: Path, name: str) -> None:
    bad, told = BAD[name]
    path = write_file(tmp_path / "f", [record(0), bad, record(1), bad, record(2)])
    data = DataFiles((path,), (5,))
    failing = eval_input_fn(options(), data, batch_size=1, skipped=SkippedRecords(print))()
    with pytest.raises(tf.errors.InvalidArgumentError):
        list(batches(failing))
    read, lines, count = read_skipping(data)
    assert sorted(read) == [0, 1, 2] and count == len(lines) == 2
    for line in lines:
        assert line == " ".join(line.split())
        assert re.search(f"^skipped a bad record: {told}", line), line
        assert "Graph execution error" not in line and "{{" not in line


def test_damaged_and_truncated_files_are_skipped_from_there_and_named(tmp_path: Path) -> None:
    data = data_files(tmp_path, 4, 4)
    flip(data.paths[0], offset_of(map(record, range(2))) + 40)
    cut(data.paths[1], offset_of(map(record, range(4, 6))) + 20)
    read, lines, count = read_skipping(data)
    assert sorted(read) == [0, 1, 3, 4, 5] and count == 2
    assert any(data.paths[0] in line and "checksum" in line for line in lines)
    assert any(data.paths[1] in line and "cut short" in line for line in lines)


@pytest.mark.parametrize("cache", ["memory", "none"])
def test_training_goes_on_without_the_bad_records(tmp_path: Path, cache: str) -> None:
    path = write_file(tmp_path / "f", [record(0), record(1, label=7), record(2), b"\x07garbage", record(3)])
    dataset = training(DataFiles((path,), (5,)), on_bad_record="skip", cache=cache)
    assert collections.Counter(numbers(dataset, 30)) == {0: 10, 2: 10, 3: 10}


def test_where_every_record_is_bad_training_does_not_just_end(tmp_path: Path) -> None:
    path = write_file(tmp_path / "f", [record(i, label=None) for i in range(3)])
    dataset = training(DataFiles((path,), (3,)), on_bad_record="skip")
    with pytest.raises(tf.errors.InvalidArgumentError, match=NOTHING_LEFT):
        numbers(dataset, 1)


def test_the_pictures_are_the_same_whether_bad_records_may_be_skipped_or_not(photos: Path) -> None:
    path = str(photos / "catsvsdogs" / "validation" / "validation-00000-of-00002")
    data = DataFiles((path,), (150,))
    sums = [
        sum(
            float(np.abs(features["image"]).sum()) + float(labels.sum())
            for features, labels in eval_input_fn(
                options(image_size=32, on_bad_record=mode), data, batch_size=50, skipped=SkippedRecords(print)
            )().as_numpy_iterator()
        )
        for mode in ("fail", "skip")
    ]
    assert sums[0] == sums[1]
