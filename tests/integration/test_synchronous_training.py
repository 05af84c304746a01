"""Two synchronous workers with half a batch each take the path of one process with the whole batch."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from cvd_cluster.ports import PortLease
from tests.integration.commands import command_environment


def _start(
    train_dir: Path, case: tuple[str, str, int], *, workers: int = 1, replicas: int = 1, task: object = None
) -> subprocess.Popen[str]:
    model, learning_rate, steps = case
    # One thread an operation: with more, a busy machine adds in another order each time, and over many steps the last
    # bits grow where a weight hardly has a gradient.
    env = {"TF_NUM_INTRAOP_THREADS": "1"}
    if task:
        env |= {"TF_CONFIG": json.dumps(task), "TF_GRPC_REUSE_PORT": "1"}
    return subprocess.Popen(
        [
            sys.executable,
            "-m",
            "tests.integration.synchronous_path",
            str(train_dir),
            model,
            learning_rate,
            str(steps),
            str(workers),
            str(replicas),
        ],
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


def _variables(train_dir: Path, step: int):  # type: ignore[no-untyped-def]
    import tensorflow as tf

    reader = tf.train.load_checkpoint(str(train_dir / f"model.ckpt-{step}"))
    return {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()}


def _begin_as(alone: Path, together: Path) -> None:
    """Both begin from one checkpoint: an initial value depends on how many operations were made before it."""
    together.mkdir()
    for path in alone.glob("model.ckpt-0.*"):
        shutil.copy(path, together)
    (together / "checkpoint").write_text('model_checkpoint_path: "model.ckpt-0"\n')


def _train_on_two_workers(train_dir: Path, case: tuple[str, str, int]) -> None:
    leases = [PortLease(), PortLease()]
    cluster = {"chief": [f"127.0.0.1:{leases[0].port}"], "worker": [f"127.0.0.1:{leases[1].port}"]}
    tasks = [{"cluster": cluster, "task": {"type": role, "index": 0}} for role in ("chief", "worker")]
    _finish(*[_start(train_dir, case, workers=2, task=task) for task in tasks])
    for lease in leases:
        lease.release()


def _train_on_two_devices(train_dir: Path, case: tuple[str, str, int]) -> None:
    _finish(_start(train_dir, case, replicas=2))


@pytest.mark.parametrize(
    "train", [_train_on_two_workers, _train_on_two_devices], ids=["multi_worker_mirrored", "mirrored"]
)
@pytest.mark.parametrize(
    ("case", "tolerance"),
    [(("LogisticModel", "0.01", 50), 1e-5), (("CnnModel", "0.01", 10), 1e-5), (("CnnModel", "0.001", 50), 1e-4)],
    ids=["LogisticModel 50 steps", "CnnModel 10 steps", "CnnModel 50 steps"],
)
def test_two_replicas_take_the_path_of_one_process(
    train: Callable[[Path, tuple[str, str, int]], None],
    case: tuple[str, str, int],
    tolerance: float,
    tmp_path: Path,
) -> None:
    import numpy as np

    alone, together, steps = tmp_path / "alone", tmp_path / "together", case[2]
    _finish(_start(alone, case))
    _begin_as(alone, together)
    train(together, case)

    one, two, begun = _variables(alone, steps), _variables(together, steps), _variables(alone, 0)
    assert set(one) == set(two)
    trained = [name for name in one if "Adam" not in name and name not in ("global_step", "beta1_power", "beta2_power")]
    assert trained
    moved = max(np.abs(one[name] - begun[name]).max() for name in trained)
    assert moved > 20 * tolerance, "the path must be long beside the difference that is allowed"
    for name in trained:
        assert np.abs(one[name] - two[name]).max() < tolerance, name
