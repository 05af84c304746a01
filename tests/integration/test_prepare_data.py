"""Real photos -> data sets, as a user makes and verifies them."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
import uuid
import zipfile
from pathlib import Path

from estimators import storage
from estimators.records.record_schema import Example, parse_example
from estimators.records.tfrecord_framing import read_records
from tests.integration.commands import Finished, command_environment, end_processes_with, run_command

_ROOT = Path(__file__).parents[2]


def _prepare(*flags: str) -> Finished:
    finished = run_command("launch.prepare_data", *flags)
    assert finished.left_behind() == []
    return finished


def _examples(pattern: object) -> list[Example]:
    return [parse_example(data) for path in storage.glob(str(pattern)) for _, data in read_records(path)]


def _flat_names(photos: Path, folder: Path) -> Path:
    """The photos as cat.0.jpg … dog.39.jpg."""
    folder.mkdir()
    for kind in ("cat", "dog"):
        for number, path in enumerate(sorted((photos / "photos" / f"{kind}s").iterdir())):
            shutil.copyfile(path, folder / f"{kind}.{number}.jpg")
    return folder


def test_a_folder_a_class_becomes_a_data_set_that_passes_the_check(photos, tmp_path):
    made = _prepare(f"--input={photos}/photos", f"--output={tmp_path}/set", "--seed=5")
    assert made.code == 0, made.output
    assert f"48 pictures in {tmp_path}/set/train/train-*: 24 cats, 24 dogs" in made.lines
    assert "labels: 0 = cats, 1 = dogs" in made.lines
    originals = {path.name: path for path in (photos / "photos").rglob("*.jpg")}
    found = _examples(tmp_path / "set" / "*" / "*-of-*")
    assert len(found) == len(originals) == 80
    for example in found:
        original = originals[(example.image_id or b"").decode()]
        assert example.encoded == original.read_bytes()
        assert example.label in (None, ["cats", "dogs"].index(original.parent.name))
    checked = _prepare(f"--check={tmp_path}/set/*/*")
    assert checked.code == 0 and checked.lines[-1] == "80 records in 12 files: no fault"


def test_flat_names_and_a_zip_of_them_give_the_same_data_set(photos, tmp_path):
    flat = _flat_names(photos, tmp_path / "flat")
    with zipfile.ZipFile(tmp_path / "train.zip", "w") as archive:
        for path in flat.iterdir():
            archive.write(path, f"train/{path.name}")
    manifests = []
    for name in ("flat", "train.zip"):
        made = _prepare(f"--input={tmp_path}/{name}", f"--output={tmp_path}/{name}.set", "--num_shards=2")
        assert made.code == 0, made.output
        manifests.append(json.loads((tmp_path / f"{name}.set" / "manifest.json").read_text()))
    assert manifests[0] == manifests[1] and manifests[0]["class_names"] == ["cat", "dog"]


def test_a_zip_that_leads_outside_writes_nothing(tmp_path):
    with zipfile.ZipFile(tmp_path / "bad.zip", "w") as archive:
        archive.writestr("cat.0.jpg", b"x")
        archive.writestr("../../dog.0.jpg", b"x")
    ended = _prepare(f"--input={tmp_path}/bad.zip", f"--output={tmp_path}/set")
    assert ended.code == 2 and "'../../dog.0.jpg': its path leads outside" in ended.output
    assert [path.name for path in tmp_path.iterdir()] == ["bad.zip"]


def _many_links(photos: Path, folder: Path, times: int) -> Path:
    """Each photo under so many names."""
    for path in (photos / "photos").rglob("*.jpg"):
        (folder / path.parent.name).mkdir(parents=True, exist_ok=True)
        for number in range(times):
            (folder / path.parent.name / f"{number}_{path.name}").symlink_to(path)
    return folder


def test_a_command_that_is_terminated_while_it_writes_shards_leaves_nothing(photos, tmp_path):
    source, target = _many_links(photos, tmp_path / "many", 40), tmp_path / "target"
    target.mkdir()
    mark = uuid.uuid4().hex
    process = subprocess.Popen(
        [sys.executable, "-m", "launch.prepare_data", f"--input={source}", f"--output={target}/set"],
        env=command_environment(mark),
        cwd=_ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        until = time.monotonic() + 60
        while not list(target.glob(".set.*/*/.*.partial")) and process.poll() is None and time.monotonic() < until:
            time.sleep(0.01)
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=60)
    finally:
        end_processes_with(mark)
    finished = Finished(process.returncode, output, mark)
    assert finished.code == 143, output
    assert finished.left_behind() == [] and list(target.iterdir()) == []
