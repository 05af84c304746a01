"""Two synchronous workers with half a batch each take the path of one process with the whole batch."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cvd_cluster.ports import PortLease
from tests.integration.commands import command_environment

# Model, learning rate and steps -> how far the two paths may be apart at the end.
CASES = {"LogisticModel:0.01:50": 1e-5, "CnnModel:0.01:10": 1e-5, "CnnModel:0.001:50": 1e-4}


def _start(folder: Path, *cases: str, workers: int = 1, replicas: int = 1, task: object = None) -> Any:
    # One thread an operation: with more, a busy machine adds in another order each time, and over many steps the last
    # bits grow where a weight hardly has a gradient.
    env = {"TF_NUM_INTRAOP_THREADS": "1"}
    if task:
        env |= {"TF_CONFIG": json.dumps(task), "TF_GRPC_REUSE_PORT": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", "tests.integration.synchronous_path", str(folder), str(workers), str(replicas), *cases],
        env=command_environment("synchronous", env),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def _finish(*processes: subprocess.Popen[str]) -> None:
    try:
        outputs = [process.communicate(timeout=300)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert all(process.returncode == 0 for process in processes), "\n".join(outputs)


def _variables(folder: Path, case: str, step: int) -> Mapping[str, Any]:
    import tensorflow as tf

    reader = tf.train.load_checkpoint(str(folder / case / f"model.ckpt-{step}"))
    return {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()}


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The path of one process, in each case."""
    folder = tmp_path_factory.mktemp("alone")
    _finish(_start(folder, *CASES))
    return folder


@pytest.fixture(scope="module")
def on_two_devices(alone: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The path of two logical processors in one process, in each case."""
    folder = tmp_path_factory.mktemp("devices")
    for case in CASES:
        _begin_as(alone, folder, case)
    _finish(_start(folder, *CASES, replicas=2))
    return folder


def _begin_as(alone: Path, together: Path, case: str) -> None:
    """Both begin from one checkpoint: an initial value depends on how many operations were made before it."""
    (together / case).mkdir()
    for path in (alone / case).glob("model.ckpt-0.*"):
        shutil.copy(path, together / case)
    (together / case / "checkpoint").write_text('model_checkpoint_path: "model.ckpt-0"\n')


def _assert_one_path(alone: Path, together: Path, case: str) -> None:
    steps, tolerance = int(case.rpartition(":")[2]), CASES[case]
    one, two = _variables(alone, case, steps), _variables(together, case, steps)
    begun = _variables(alone, case, 0)
    assert set(one) == set(two)
    trained = [name for name in one if "Adam" not in name and name not in ("global_step", "beta1_power", "beta2_power")]
    assert trained
    moved = max(np.abs(one[name] - begun[name]).max() for name in trained)
    assert moved > 20 * tolerance, "the path must be long beside the difference that is allowed"
    for name in trained:
        assert np.abs(one[name] - two[name]).max() < tolerance, f"{name} is another"


@pytest.mark.parametrize("case", CASES)
def test_two_devices_take_the_path_of_one(alone: Path, on_two_devices: Path, case: str) -> None:
    _assert_one_path(alone, on_two_devices, case)


@pytest.mark.parametrize("case", ["LogisticModel:0.01:50", pytest.param("CnnModel:0.01:10", marks=pytest.mark.slow)])
def test_devices_that_clip_before_they_reduce_take_another_path(alone: Path, case: str, tmp_path: Path) -> None:
    _begin_as(alone, tmp_path, case)
    _finish(_start(tmp_path, "clip-before", case, replicas=2))
    with pytest.raises(AssertionError, match="is another"):
        _assert_one_path(alone, tmp_path, case)
    assert set(_variables(tmp_path, case, int(case.rpartition(":")[2]))), "it trained to its end"


@pytest.mark.parametrize(
    "case", [pytest.param(case, marks=pytest.mark.slow if case == "CnnModel:0.001:50" else ()) for case in CASES]
)
def test_two_workers_take_the_path_of_one_process(alone: Path, case: str, tmp_path: Path) -> None:
    _begin_as(alone, tmp_path, case)
    leases = [PortLease(), PortLease()]
    cluster = {"chief": [f"127.0.0.1:{leases[0].port}"], "worker": [f"127.0.0.1:{leases[1].port}"]}
    tasks = [{"cluster": cluster, "task": {"type": role, "index": 0}} for role in ("chief", "worker")]
    _finish(*[_start(tmp_path, case, workers=2, task=task) for task in tasks])
    for lease in leases:
        lease.release()
    _assert_one_path(alone, tmp_path, case)
