"""The command lines of 2017 still mean what they meant: each flag is there, with its default."""

from __future__ import annotations

import pytest

from cvd_cluster.cluster_options import ClusterOptions
from cvd_cluster.prediction.prediction_options import PredictionOptions
from estimators.evaluation.evaluation_options import EvaluationOptions
from estimators.experiment_options import ExperimentOptions, StartOptions
from estimators.inputs.data_check import DataFiles
from estimators.options import Options
from estimators.submission.json_to_csv_options import JsonToCsvOptions
from estimators.training_plan import make_plan
from launch.flags import parse_flags

Classes = tuple[type[Options], ...]
TRAIN: Classes = (ExperimentOptions, StartOptions, ClusterOptions)
DEFAULTS: dict[Classes, dict[str, object]] = {
    TRAIN: {
        "model": "LogisticModel",
        "start_new_model": False,
        "batch_size": 512,
        "label_loss": "CrossEntropyLoss",
        "regularization_penalty": 1.0,
        "base_learning_rate": 0.01,
        "learning_rate_decay": 0.95,
        "learning_rate_decay_examples": 4_000_000,
        "max_steps": None,
        "export_model_steps": 1000,
        "num_readers": 8,
        "optimizer": "AdamOptimizer",
        "clip_gradient_norm": 1.0,
        "log_device_placement": False,
        # Not of 2017, but what it did.
        "strategy": "local",
        "image_size": 32,
        "augment": False,
        "seed": None,
        "learning_rate_schedule": "exponential",
    },
    (EvaluationOptions,): {"batch_size": 1024, "num_readers": 8, "run_once": False},
    (PredictionOptions,): {"num_readers": 8},
    (JsonToCsvOptions,): {},
}
REQUIRED: dict[Classes, tuple[str, ...]] = {
    TRAIN: ("train_dir", "train_data_pattern"),
    (EvaluationOptions,): ("train_dir", "eval_data_pattern"),
    (PredictionOptions,): ("train_dir", "output_file", "input_data_pattern"),
    (JsonToCsvOptions,): ("json_prediction_files_pattern", "csv_output_file"),
}


def parsed(classes: Classes, *flags: str) -> dict[str, object]:
    values: dict[str, object] = {}
    for made in parse_flags("launch.sample", None, *classes, argv=flags):
        values |= {name: getattr(made, name) for name in made.to_json()}
    return values


@pytest.mark.parametrize("classes", DEFAULTS, ids=lambda classes: classes[0].__name__)
def test_each_flag_has_its_default(classes: Classes) -> None:
    found = parsed(classes, *(f"--{name}=x" for name in REQUIRED[classes]))
    assert {name: found[name] for name in DEFAULTS[classes]} == DEFAULTS[classes]
    assert all(found[name] == "x" for name in REQUIRED[classes])


def test_evaluation_still_takes_the_names_of_model_and_loss() -> None:
    flags = ("--train_dir=x", "--eval_data_pattern=x", "--model=CnnModel", "--label_loss=HingeLoss")
    found = parsed((EvaluationOptions,), *flags)
    assert (found["model"], found["label_loss"]) == ("CnnModel", "HingeLoss")


def test_without_a_length_training_makes_five_epochs() -> None:
    options = ExperimentOptions(train_dir="x", train_data_pattern="x", batch_size=10)
    data = DataFiles(("a",), (100,))
    plan = make_plan(options, strategy="local", num_workers=1, train_data=data, eval_data=None)
    assert plan.max_steps == 50
