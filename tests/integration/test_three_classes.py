"""Three classes, a column each, from folders of pictures to the submission."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.integration.commands import Finished, run_command

COLOURS = {"blue": (30, 40, 200), "green": (40, 180, 50), "red": (210, 30, 30)}


def _pictures(folder: Path, count: int) -> Path:
    random = np.random.default_rng(1)
    for name, colour in COLOURS.items():
        (folder / name).mkdir(parents=True)
        for i in range(count):
            pixels = np.clip(np.array(colour) + random.normal(0, 20, size=(16, 16, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{name}-{i}.jpg", quality=95)
    return folder


def _done(module: str, *flags: str) -> Finished:
    finished = run_command(module, *flags)
    assert finished.code == 0, finished.output
    return finished


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("colours")
    _done(
        "launch.prepare_data",
        f"--input={_pictures(folder / 'pictures', 20)}",
        f"--output={folder / 'data'}",
        "--validation_fraction=0.2",
        "--test_fraction=0.2",
    )
    return folder / "data"


# Probabilities, a sigmoid a column; and scores of any size, which only a softmax makes probabilities of.
@pytest.mark.parametrize(
    ("model", "loss", "more"),
    [
        pytest.param("LogisticModel", "CrossEntropyLoss", (), marks=pytest.mark.slow),
        ("tests.integration.score_models:LinearScores", "SoftmaxLoss", ()),
        pytest.param("MoeModel", "HingeLoss", ("--model_params=num_mixtures=3",), marks=pytest.mark.slow),
    ],
)
def test_each_photo_gets_its_class(data: Path, tmp_path: Path, model: str, loss: str, more: tuple[str, ...]) -> None:
    run = tmp_path / "run"
    trained = _done(
        "launch.train",
        f"--train_data_pattern={data}/train/*",
        f"--eval_data_pattern={data}/validation/*",
        f"--train_dir={run}",
        f"--model={model}",
        f"--label_loss={loss}",
        "--num_classes=3",
        "--image_size=8",
        "--batch_size=12",
        "--max_steps=100",
        "--seed=1",
        *more,
    )
    evaluated = [line for line in trained.lines if line.startswith("epoch/eval number 100 ")]
    assert len(evaluated) == 1 and "Avg_Hit@1: 1.000" in evaluated[0] and "MAP: 1.000" in evaluated[0]
    output = tmp_path / "submission.csv"
    _done("launch.inference", f"--train_dir={run}", f"--input_data_pattern={data}/test/*", f"--output_file={output}")
    header, *rows = list(csv.reader(output.open()))
    assert header == ["Id", "Category"] and len(rows) == 12
    # Classes are numbered in the order of their names.
    assert [list(COLOURS)[int(category)] for _, category in rows] == [name.split("-")[0] for name, _ in rows]
    (export,) = (run / "export").iterdir()
    _done(
        "launch.inference",
        f"--model_dir={export}",
        f"--input_data_pattern={data}/test/*",
        f"--output_file={output}",
        "--output_format=probability",
    )
    header, *of_classes = list(csv.reader(output.open()))
    assert len(header) == 4
    for (name, *numbers), (_, category) in zip(of_classes, rows, strict=True):
        probabilities = [float(number) for number in numbers]
        assert all(0 <= one <= 1 for one in probabilities), name
        assert int(category) == int(np.argmax(probabilities))
        assert loss != "SoftmaxLoss" or sum(probabilities) == pytest.approx(1, abs=1e-5)
