from __future__ import annotations

from pathlib import Path

import pytest
import tensorflow as tf

from estimators.readers import intact_records_of, parse_fields, records_of
from estimators.records.record_schema import IMAGE_ENCODED, IMAGE_ID, IMAGE_LABEL, parse_example, serialize_example
from estimators.records.tfrecord_framing import read_records
from tests.estimators.drawn_records import cut, flip, numbered_file, offset_of, picture, record


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    """Five files with 0, 7, 1, 12 and 10 records, numbered through."""
    bounds = [0, 0, 7, 8, 20, 30]
    return [numbered_file(tmp_path / f"f-{i}", range(*bounds[i : i + 2])) for i in range(5)]


def numbers(dataset: tf.data.Dataset) -> list[int]:
    examples = [parse_example(data) for data in dataset.as_numpy_iterator()]
    return [int((example.image_id or b"-1.").split(b".")[0]) for example in examples]


def test_a_record_is_what_tensorflow_calls_an_example() -> None:
    ours = serialize_example(picture(3), "3 ü.jpg", 1)
    theirs = tf.train.Example.FromString(ours)
    assert theirs.features.feature[IMAGE_ID].bytes_list.value == ["3 ü.jpg".encode()]
    assert theirs.features.feature[IMAGE_LABEL].int64_list.value == [1]
    assert parse_example(theirs.SerializeToString()) == parse_example(ours)


def test_both_read_the_files_that_the_other_writes(tmp_path: Path) -> None:
    data = [b"", b"x", record(1), b"y" * 300_000]
    with tf.io.TFRecordWriter(str(tmp_path / "theirs")) as writer:
        for one in data:
            writer.write(one)
    assert [one for _, one in read_records(str(tmp_path / "theirs"))] == data
    ours = numbered_file(tmp_path / "ours", range(3))
    assert list(tf.data.TFRecordDataset(ours).as_numpy_iterator()) == [record(i) for i in range(3)]


def test_fields_of_one_record_and_of_a_batch() -> None:
    one = parse_fields(tf.constant(record(5)), with_label=True)
    assert (one[IMAGE_ID].numpy(), one[IMAGE_LABEL].numpy()) == (b"5.jpg", 1)
    assert one[IMAGE_ENCODED].numpy() == picture(5)
    several = parse_fields(tf.constant([record(5), record(6, label=None)]), with_label=False)
    assert several[IMAGE_ID].numpy().tolist() == [b"5.jpg", b"6.jpg"] and IMAGE_LABEL not in several


def test_a_label_that_is_asked_for_must_be_there_and_an_id_need_not() -> None:
    with pytest.raises(tf.errors.InvalidArgumentError, match=IMAGE_LABEL):
        parse_fields(tf.constant(record(6, label=None)), with_label=True)
    unnamed = tf.train.Example()
    unnamed.features.feature[IMAGE_ENCODED].bytes_list.value.append(b"p")
    assert parse_fields(tf.constant(unnamed.SerializeToString()), with_label=False)[IMAGE_ID].numpy() == b""


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("num_readers", [1, 2, 8])
def test_every_record_is_read_once_in_each_pass(files: list[str], num_readers: int, shuffle: bool) -> None:
    dataset = records_of(files, num_readers=num_readers, shuffle=shuffle, seed=None)
    assert sorted(numbers(dataset)) == sorted(numbers(dataset)) == list(range(30))


def test_without_shuffling_the_order_is_always_the_same(files: list[str]) -> None:
    orders = {tuple(numbers(records_of(files, num_readers=3, shuffle=False, seed=None))) for _ in range(5)}
    assert len(orders) == 1


def test_a_seed_fixes_the_order_of_a_run_and_each_pass_has_its_own(files: list[str]) -> None:
    orders = [tuple(numbers(records_of(files, num_readers=2, shuffle=True, seed=7).repeat(4))) for _ in range(3)]
    assert len(set(orders)) == 1
    passes = {orders[0][start : start + 30] for start in range(0, 120, 30)}
    assert len(passes) > 1


def test_damage_is_an_error_of_tensorflows(files: list[str]) -> None:
    flip(files[3], 40)
    with pytest.raises(tf.errors.DataLossError):
        numbers(records_of(files, num_readers=2, shuffle=False, seed=None))


@pytest.mark.parametrize("num_readers", [1, 2, 8])
def test_intact_records_are_all_but_the_damaged(files: list[str], num_readers: int) -> None:
    flip(files[1], offset_of(map(record, range(3))) + 40)  # record 3
    cut(files[3], offset_of(map(record, range(8, 15))) + 50)  # from record 15 on
    damages: list[Exception] = []
    dataset = intact_records_of(files, num_readers=num_readers, on_damage=damages.append)
    assert sorted(numbers(dataset)) == sorted(set(range(30)) - {3, 15, 16, 17, 18, 19})
    assert sorted(path for damage in damages for path in files if path in str(damage)) == [files[1], files[3]]
    assert numbers(dataset) == numbers(dataset)
