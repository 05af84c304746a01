from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from estimators import storage
from estimators.conversion import synthetic_data_set
from estimators.conversion.synthetic_data_set import write_synthetic_data_set
from estimators.conversion.synthetic_options import SyntheticOptions
from estimators.data_set.manifest import read_manifest
from estimators.records.record_schema import Example, parse_example
from estimators.records.tfrecord_framing import read_records


def _digests(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def _examples(pattern: str) -> list[Example]:
    return [parse_example(data) for path in storage.glob(pattern) for _, data in read_records(path)]


def test_the_same_seed_gives_the_same_bytes_in_however_many_processes(tmp_path):
    for name, seed, processes in (("one", 5, 1), ("two", 5, 2), ("other", 6, 1)):
        options = SyntheticOptions(synthetic=40, seed=seed, output=str(tmp_path / name))
        write_synthetic_data_set(options, num_processes=processes)
    one, two, other = (_digests(tmp_path / name) for name in ("one", "two", "other"))
    assert one == two
    assert one.keys() == other.keys() and not set(one.values()) & set(other.values())


def test_the_folder_holds_the_splits_in_the_record_format(tmp_path):
    options = SyntheticOptions(synthetic=30, output=str(tmp_path / "data"), num_shards=3)
    manifest = write_synthetic_data_set(options)
    assert manifest.examples() == {"train": 18, "validation": 6, "test": 6}
    shards = [
        f"{split}/{split}-{shard:05d}-of-00003" for split in ("train", "validation", "test") for shard in range(3)
    ]
    digests = _digests(tmp_path / "data")
    assert sorted(digests) == sorted(["manifest.json", *shards])
    assert read_manifest(str(tmp_path / "data")) == manifest
    assert {shard.path: shard.sha256 for shard in manifest.shards} == {path: digests[path] for path in shards}
    for shard in manifest.shards:
        assert shard.labelled == (shard.split != "test") and sum(shard.classes.values()) == shard.examples
        if shard.labelled:
            labels = [example.label for example in _examples(f"{tmp_path}/data/{shard.path}")]
            assert shard.classes == {"cat": labels.count(0), "dog": labels.count(1)}
    train, test = (_examples(f"{tmp_path}/data/{split}/*") for split in ("train", "test"))
    assert sorted(example.label or 0 for example in train) == [0] * 9 + [1] * 9
    assert all((example.image_id or b"").startswith(b"dog." if example.label else b"cat.") for example in train)
    assert [example.image_id for example in test] == [f"{number}.jpg".encode() for number in range(1, 7)]
    assert {example.label for example in test} == {None}
    assert all((example.encoded or b"").startswith(b"\xff\xd8") for example in train + test)


def test_a_failure_while_drawing_leaves_nothing(tmp_path, monkeypatch):
    def no_more_pictures(seed: int, index: int, label: int) -> bytes:
        raise MemoryError

    monkeypatch.setattr(synthetic_data_set, "draw_picture", no_more_pictures)
    with pytest.raises(MemoryError):
        write_synthetic_data_set(SyntheticOptions(synthetic=10, output=str(tmp_path / "data")), num_processes=1)
    assert list(tmp_path.iterdir()) == []


def test_tensorflow_reads_the_records(tmp_path):
    import tensorflow as tf

    write_synthetic_data_set(SyntheticOptions(synthetic=10, output=str(tmp_path / "data"), num_shards=1))
    (record,) = tf.data.TFRecordDataset(str(tmp_path / "data/test/test-00000-of-00001")).take(1)
    fields = tf.io.parse_single_example(record, {"image/encoded": tf.io.FixedLenFeature([], tf.string)})
    assert tf.io.decode_jpeg(fields["image/encoded"]).shape[2] == 3
