"""What inference is measured on: many photos made of a few with new ids, drawn tiny pictures, and a model."""

from __future__ import annotations

import io
import os
import subprocess
import sys

import numpy as np
from PIL import Image

from estimators.errors import InfrastructureError
from estimators.records.record_schema import parse_example, serialize_example
from estimators.records.tfrecord_framing import read_records, shard_name, write_record
from estimators.storage import glob

_TINY_SIDE, _DIFFERENT_TINY = 24, 500


def photos_of(pattern: str) -> list[bytes]:
    """The picture files in some TFRecord files."""
    examples = (parse_example(record) for path in glob(pattern) for _, record in read_records(path))
    return [example.encoded for example in examples if example.encoded]


def tiny_pictures() -> list[bytes]:
    """JPEGs of 24 x 24 pixels, about 700 bytes each."""
    random, pictures = np.random.default_rng(0), []
    for _ in range(_DIFFERENT_TINY):
        small = Image.fromarray(random.integers(0, 256, (6, 6, 3)).astype(np.uint8))
        file = io.BytesIO()
        small.resize((_TINY_SIDE, _TINY_SIDE)).save(file, "JPEG")
        pictures.append(file.getvalue())
    return pictures


def write_shards(folder: str, pictures: list[bytes], count: int, shards: int, *, labelled: bool = False) -> str:
    """Writes `count` records with ids of their own into TFRecord files; the pattern that matches these."""
    os.makedirs(folder)
    for shard in range(shards):
        with open(os.path.join(folder, shard_name("test", shard, shards)), "wb") as file:
            for number in range(shard * count // shards, (shard + 1) * count // shards):
                label = number % 2 if labelled else None
                write_record(file, serialize_example(pictures[number % len(pictures)], f"{number + 1}.jpg", label))
    return os.path.join(folder, "test-*")


def exported_model(folder: str, pictures: list[bytes]) -> str:
    """A LogisticModel at 32 x 32, trained for ten steps, exported."""
    pattern = write_shards(os.path.join(folder, "training_photos"), pictures[:200], 200, 2, labelled=True)
    command = [sys.executable, "-m", "launch.train", f"--train_data_pattern={pattern}", f"--train_dir={folder}/run"]
    command += ["--model=LogisticModel", "--image_size=32", "--batch_size=20", "--max_steps=10"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise InfrastructureError("The model cannot be trained", found=(done.stdout + done.stderr)[-2000:])
    return f"{folder}/run/export/step_10"
