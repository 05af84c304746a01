"""What a model author brings to each strategy: a loss class, another run's variables, and numbers that are none."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.integration.commands import Finished, run_command

MODELS = "tests.estimators.sample_models"
SYNCHRONOUS = {
    "mirrored": ("--strategy=mirrored", "--num_replicas=2"),
    "multi_worker_mirrored": ("--strategy=multi_worker_mirrored", "--num_workers=2"),
}
STRATEGIES = {
    **SYNCHRONOUS,
    "parameter_server": ("--strategy=parameter_server", "--num_workers=2", "--num_parameter_servers=1"),
}


@dataclass(frozen=True)
class Run:
    """A run that ended.

    Attributes:
      strategy: of it.
      folder: its train_dir.
      begun_as: prefix of the checkpoint that it began with.
      done: its command.
    """

    strategy: str
    folder: Path
    begun_as: str
    done: Finished

    @property
    def steps(self) -> list[int]:
        """Of its checkpoints."""
        return sorted(int(path.suffixes[0][6:]) for path in self.folder.glob("model.ckpt-*.index"))

    def variables(self, step: int) -> dict[str, Any]:
        return _variables(f"{self.folder}/model.ckpt-{step}")


def _variables(prefix: str) -> dict[str, Any]:
    import tensorflow as tf

    reader = tf.train.load_checkpoint(prefix)
    return {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()}


def _train(data: Path, folder: Path, *flags: str) -> Finished:
    done = run_command(
        "launch.train",
        f"--train_data_pattern={data}/train-*",
        f"--train_dir={folder}",
        "--image_size=8",
        "--batch_size=4",
        "--max_steps=300",
        "--save_checkpoints_steps=5",
        "--log_every_n_steps=1",
        *flags,
    )
    assert not done.left_behind()
    return done


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with data/, and with a run of LogisticModel on it."""
    from tests.estimators.small_run import small_options, train

    folder = tmp_path_factory.mktemp("trained")
    train(small_options(folder, max_steps=3))
    return folder


@pytest.fixture(
    scope="module",
    params=[pytest.param(one, marks=pytest.mark.slow if one == "parameter_server" else ()) for one in STRATEGIES],
)
def run(request: pytest.FixtureRequest, trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """One that begins as the other ended, and whose loss, of a class of its own, is 7 until it is NaN in step 10."""
    strategy, folder = request.param, tmp_path_factory.mktemp("run") / request.param
    flags = (f"--warm_start_from={trained}/run", f"--label_loss={MODELS}:NanFromStep10", "--regularization_penalty=0")
    done = _train(trained / "data", folder, *flags, *STRATEGIES[strategy])
    return Run(strategy, folder, f"{trained}/run/model.ckpt-3", done)


def test_a_run_begins_with_the_variables_of_another_under_each_strategy(run: Run) -> None:
    assert f"2 of 2 variables begin as in {run.begun_as}" in run.done.output, run.done.output
    source, begun = _variables(run.begun_as), run.variables(0)
    for name in ("weights", "biases"):
        np.testing.assert_array_equal(begun[name], source[name])
    assert begun["global_step"] == 0 and not begun["weights/Adam"].any(), "the optimizer begins anew"


def test_a_loss_class_of_ones_own_is_what_each_strategy_trains_by(run: Run) -> None:
    losses = re.findall(r"training step \d+ \| Loss: (\S+) ", run.done.output)
    # An asynchronous worker may make all steps up to the NaN before its chief makes one.
    assert set(losses) == {"7.00"} or (not losses and run.strategy not in SYNCHRONOUS), run.done.output


def test_a_loss_that_is_nan_ends_a_run_at_its_step_and_the_last_good_checkpoint_stays(run: Run) -> None:
    told = run.done.output
    assert run.done.code == 2 and "Traceback" not in told and told.count("error: ") == 1, told
    (step,) = map(int, re.findall(r"^error: (?:\S+: )?The loss is NaN in step (\d+), so training", told, re.M))
    assert f"--label_loss={MODELS}:NanFromStep10" in told and "--base_learning_rate" in told
    (good,) = map(int, re.findall(r"the checkpoint of step (\d+) is from before", told))
    if run.strategy in SYNCHRONOUS:
        assert (step, good) == (10, 5) and run.steps == [0, 5]
    else:
        # Asynchronous workers make steps since the one that they read; the chief may save what is good until its own.
        assert 10 <= step <= 12 and good in run.steps, told
    assert all(np.isfinite(value).all() for value in run.variables(run.steps[-1]).values())
    assert json.loads((run.folder / "run_state.json").read_text())["state"] == "FAILED"
    assert not list((run.folder / "export").glob("step_1*"))


@pytest.mark.parametrize("strategy", ["mirrored", pytest.param("multi_worker_mirrored", marks=pytest.mark.slow)])
def test_a_moving_average_that_is_infinite_on_one_replica_alone_is_not_saved(
    strategy: str, trained: Path, tmp_path: Path
) -> None:
    done = _train(trained / "data", tmp_path / "run", f"--model={MODELS}:NanAverageAfterStep10", *SYNCHRONOUS[strategy])
    assert done.code == 2 and "Traceback" not in done.output and done.output.count("error: ") == 1, done.output
    who = "" if strategy == "mirrored" else "worker-0: "
    assert f"error: {who}Variables are NaN or infinite after step 10, so training stopped" in done.output, done.output
    assert "1 of 6 variables: average; the checkpoint of step 5 is from before" in done.output, done.output
    ended = Run(strategy, tmp_path / "run", "", done)
    assert ended.steps == [0, 5] and np.isfinite(ended.variables(5)["average"])
