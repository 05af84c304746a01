"""Photos in folders and archives -> data sets, on a real Ray."""

from __future__ import annotations

import csv
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cvd_cluster import conversion_job
from cvd_cluster.conversion_job import convert_photos
from cvd_cluster.ray_session import ray_session
from estimators import storage
from estimators.conversion.check_options import CheckOptions
from estimators.conversion.data_set_check import check_data_set
from estimators.conversion.photo_options import PhotoOptions
from estimators.data_set.manifest import Manifest, counts_of, listed
from estimators.errors import DataError, InfrastructureError, UserError
from estimators.records.record_schema import Example, parse_example
from estimators.records.tfrecord_framing import read_records
from tests.estimators.conversion.made_photos import (
    cats_and_dogs,
    jpeg_of_orientation,
    opened,
    two_coloured,
    write_photos,
    zipped,
)
from tests.estimators.drawn_records import encoded, noisy_picture


@pytest.fixture(scope="module", autouse=True)
def _one_ray() -> Iterator[None]:
    """A Ray that all conversions here join, so that not each waits for its own."""
    with ray_session(cpus_needed=2, announce=print):
        yield


def convert(source: Path, output: Path, **options: Any) -> tuple[Manifest, list[str]]:
    lines: list[str] = []
    return convert_photos(PhotoOptions(input=str(source), output=str(output), **options), announce=lines.append), lines


def refused(source: Path, output: Path, **options: Any) -> UserError:
    """The error of a conversion; makes sure that it left nothing beside what was there."""
    before = sorted(os.listdir(output.parent))
    with pytest.raises(UserError) as caught:
        convert(source, output, **options)
    assert sorted(os.listdir(output.parent)) == before
    return caught.value


def examples(pattern: object) -> list[Example]:
    return [parse_example(data) for path in storage.glob(str(pattern)) for _, data in read_records(path)]


def by_id(pattern: object) -> dict[str, Example]:
    return {(example.image_id or b"").decode(): example for example in examples(pattern)}


def digests(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_every_photo_arrives_once_byte_for_byte_and_under_its_label(tmp_path):
    source, output = cats_and_dogs(tmp_path / "photos"), tmp_path / "set"
    manifest, lines = convert(source, output, num_shards=2)
    assert manifest.examples() == {"train": 12, "validation": 4, "test": 4}
    found = by_id(output / "*" / "*-of-*")
    assert len(found) == 20
    for path in source.rglob("*.jpg"):
        assert found[path.name].encoded == path.read_bytes()
    for split in ("train", "validation"):
        for name, example in by_id(output / split / "*").items():
            assert example.label == {"c": 0, "d": 1}[name[0]]
    assert lines == ["20 JPEGs kept as they are, 0 turned, 0 re-encoded"]
    assert sorted(os.listdir(tmp_path)) == ["photos", "set"]


def test_the_test_split_holds_no_labels_and_they_stand_beside_it(tmp_path):
    convert(cats_and_dogs(tmp_path / "photos"), tmp_path / "set")
    test = examples(tmp_path / "set" / "test" / "*")
    assert {example.label for example in test} == {None}
    rows = (tmp_path / "set" / "test_labels.csv").read_text().splitlines()
    ids = [(example.image_id or b"").decode() for example in test]
    assert rows == ["Id,Category", *(f"{name},{int(name[0] == 'd')}" for name in ids)]


def test_photos_of_one_prefix_are_no_class_and_a_test_set_if_that_is_said(tmp_path):
    source, output = tmp_path / "photos", tmp_path / "set"
    write_photos(source, {f"photo.{number}.jpg": noisy_picture((8, 8)) for number in (10, 9, 1)})
    assert "--unlabelled" in refused(source, output).change
    manifest, _ = convert(source, output, unlabelled=True)
    assert manifest.examples() == {"test": 3} and manifest.class_names == ()
    assert [(example.image_id, example.label) for example in examples(output / "test" / "*")] == [
        (b"photo.1.jpg", None),
        (b"photo.9.jpg", None),
        (b"photo.10.jpg", None),
    ]


def test_the_manifest_tells_counts_classes_and_digests_and_training_believes_it(tmp_path):
    convert(cats_and_dogs(tmp_path / "photos"), tmp_path / "set", num_shards=3, seed=7)
    content = json.loads((tmp_path / "set" / "manifest.json").read_text())
    assert content["class_names"] == ["cats", "dogs"] and content["seed"] == 7
    assert content["splits"]["train"] == {"examples": 12, "labelled": True, "classes": {"cats": 6, "dogs": 6}}
    found = digests(tmp_path / "set")
    for shard in content["shards"]:
        path = tmp_path / "set" / shard["path"]
        assert shard["sha256"] == found[shard["path"]] and shard["bytes"] == path.stat().st_size
        assert counts_of(list(listed([str(path)]))) == (len(examples(path)),) == (shard["examples"],)
        if shard["labelled"]:
            labels = [example.label for example in examples(path)]
            assert shard["classes"] == {"cats": labels.count(0), "dogs": labels.count(1)}
    check_data_set(CheckOptions(check=str(tmp_path / "set")), announce=lambda line: None)


def test_folder_zip_and_a_zip_with_a_folder_around_give_the_same_bytes_and_another_seed_does_not(tmp_path):
    photos = cats_and_dogs(tmp_path / "photos")
    convert(photos, tmp_path / "folder")
    convert(photos, tmp_path / "again")
    convert(zipped(photos, tmp_path / "plain.zip"), tmp_path / "plain")
    convert(zipped(photos, tmp_path / "wrapped.zip", within="some/photos/"), tmp_path / "wrapped")
    convert(photos, tmp_path / "other", seed=1)
    expected = digests(tmp_path / "folder")
    assert digests(tmp_path / "again") == digests(tmp_path / "plain") == digests(tmp_path / "wrapped") == expected
    assert digests(tmp_path / "other") != expected


def test_flat_names_give_their_classes(tmp_path):
    names = [f"{kind}.{number}.jpg" for kind in ("cat", "dog") for number in range(5)]
    manifest, _ = convert(write_photos(tmp_path / "flat", names), tmp_path / "set", test_fraction=0.0)
    assert manifest.class_names == ("cat", "dog") and manifest.examples() == {"train": 8, "validation": 2}
    assert not (tmp_path / "set" / "test_labels.csv").exists()
    for name, example in by_id(tmp_path / "set" / "*" / "*").items():
        assert example.label == int(name.startswith("dog"))


def test_photos_without_classes_become_a_test_set_in_their_natural_order(tmp_path):
    names = [f"{number}.jpg" for number in range(1, 13)]
    manifest, _ = convert(write_photos(tmp_path / "photos", names), tmp_path / "set", num_shards=2)
    assert sorted(digests(tmp_path / "set")) == [
        "manifest.json",
        "test/test-00000-of-00002",
        "test/test-00001-of-00002",
    ]
    found = examples(tmp_path / "set" / "test" / "*")
    assert [example.image_id for example in found] == [name.encode() for name in names]
    assert {example.label for example in found} == {None} and manifest.class_names == ()
    assert "12 pictures" in manifest.summary("x")[0] and "without labels" in manifest.summary("x")[0]


def test_what_was_turned_and_re_encoded_is_counted_and_keeps_its_name(tmp_path):
    photos = cats_and_dogs(tmp_path / "photos")
    (photos / "cats" / "turned.jpg").write_bytes(jpeg_of_orientation(6))
    (photos / "dogs" / "clear.png").write_bytes(encoded(two_coloured().convert("RGBA"), format="PNG"))
    manifest, lines = convert(photos, tmp_path / "set")
    assert manifest.pictures == {"kept": 20, "turned": 1, "re_encoded": 1, "rejected": 0, "passed_over": 0}
    assert lines == ["20 JPEGs kept as they are, 1 turned, 1 re-encoded"]
    found = by_id(tmp_path / "set" / "*" / "*-of-*")
    assert opened(found["turned.jpg"].encoded or b"").size == (24, 40)
    assert opened(found["clear.png"].encoded or b"").format == "JPEG"


def with_bad_ones(photos: Path) -> Path:
    (photos / "cats" / "half.jpg").write_bytes(noisy_picture()[:3000])
    (photos / "dogs" / "text.jpg").write_text("no picture")
    return photos


def test_pictures_that_do_not_decode_are_left_out_and_listed(tmp_path):
    photos = with_bad_ones(cats_and_dogs(tmp_path / "photos", each=20))
    manifest, lines = convert(photos, tmp_path / "set")
    with (tmp_path / "set" / "rejected.csv").open(newline="") as file:
        header, *rows = csv.reader(file)
    assert header == ["file", "reason"]
    reasons = dict(rows)
    assert set(reasons) == {"cats/half.jpg", "dogs/text.jpg"}
    assert "truncated" in reasons["cats/half.jpg"] and "10 bytes" in reasons["dogs/text.jpg"]
    assert manifest.pictures["rejected"] == 2 and sum(manifest.examples().values()) == 40
    assert lines[-1].endswith(f"2 left out, see {tmp_path}/set/rejected.csv")
    assert not {"half.jpg", "text.jpg"} & set(by_id(tmp_path / "set" / "*" / "*-of-*"))


def test_too_many_that_do_not_decode_are_an_error_and_nothing_appears(tmp_path):
    photos = with_bad_ones(cats_and_dogs(tmp_path / "photos", each=20))
    for value in (0.0, 1.0, 0.01):
        error = refused(photos, tmp_path / "set", max_rejected=value)
        assert isinstance(error, DataError)
        assert "cats/half.jpg: " in error.found and "dogs/text.jpg: " in error.found
        assert f"--max_rejected={value:g}" in error.asked
    assert convert(photos, tmp_path / "set", max_rejected=2.0)


def test_a_class_of_which_nothing_decodes_is_an_error(tmp_path):
    photos = cats_and_dogs(tmp_path / "photos", each=3)
    for path in (photos / "dogs").iterdir():
        path.write_text("no picture")
    assert "class dogs" in refused(photos, tmp_path / "set", max_rejected=100.0).summary


BAD_INPUT = {
    "one class": (["cats/a.jpg", "cats/b.jpg"], "only one class"),
    "no picture": (["notes.txt"], "no picture"),
    "a clash": (["cats/1.jpg", "dogs/1.jpg"], "same id"),
    "too few": (["cats/1.jpg", "dogs/2.jpg"], "too few pictures of class cats"),
}


@pytest.mark.parametrize("name", BAD_INPUT)
def test_bad_input_is_an_error_and_nothing_appears(name, tmp_path):
    names, message = BAD_INPUT[name]
    assert message in refused(write_photos(tmp_path / "photos", names), tmp_path / "set").summary


def test_an_output_that_is_taken_is_refused_before_the_photos_are_looked_at(tmp_path):
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "mine").write_text("x")
    assert "--output" in refused(tmp_path / "no photos", tmp_path / "set").asked
    assert os.listdir(tmp_path / "set") == ["mine"]


def test_files_that_are_no_pictures_are_told(tmp_path):
    photos = cats_and_dogs(tmp_path / "photos")
    (photos / "licence.txt").write_text("x")
    manifest, lines = convert(photos, tmp_path / "set")
    assert "1 files (licence.txt)" in lines[0] and manifest.pictures["passed_over"] == 1


def test_paths_may_be_relative_to_where_the_command_runs(tmp_path, monkeypatch):
    cats_and_dogs(tmp_path / "photos")
    monkeypatch.chdir(tmp_path)
    convert(Path("photos"), Path("set"))
    assert counts_of(list(listed(storage.glob("set/train/*"))))


def test_a_name_that_is_no_unicode_is_left_out_with_the_reason(tmp_path):
    photos = cats_and_dogs(tmp_path / "photos")
    (photos / "cats" / "c0.jpg").rename(os.fsdecode(os.fsencode(photos / "cats") + b"/\xff.jpg"))
    manifest, _ = convert(photos, tmp_path / "set")
    assert manifest.pictures["rejected"] == 1
    assert "not valid UTF-8" in (tmp_path / "set" / "rejected.csv").read_text()


def test_a_task_whose_process_dies_is_an_error_for_people_and_leaves_nothing(tmp_path, monkeypatch):
    def dies(*args: object) -> Iterator[int]:
        yield 1
        os._exit(9)

    monkeypatch.setattr(conversion_job, "convert_shard", dies)
    with pytest.raises(InfrastructureError, match="Ray gave up converting"):
        convert(cats_and_dogs(tmp_path / "photos"), tmp_path / "set", num_shards=1)
    assert os.listdir(tmp_path) == ["photos"]


def test_a_shard_that_did_not_arrive_here_is_told(tmp_path, monkeypatch):
    real = conversion_job._convert_all

    def lost(source: str, folder: str, *rest: Any) -> Any:
        shards = real(source, folder, *rest)
        os.remove(os.path.join(folder, shards[0].written.path))
        return shards

    monkeypatch.setattr(conversion_job, "_convert_all", lost)
    error = refused(cats_and_dogs(tmp_path / "photos"), tmp_path / "set")
    assert "no train/train-00000-of-00004" in error.found and "every node" in error.change
