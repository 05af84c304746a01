"""SIGTERM and Ctrl-C: a checkpoint is written, all stop, and the same command goes on there."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from pathlib import Path

import pytest

from estimators.checkpoints.checkpoint_files import latest_checkpoint
from tests.integration.commands import Finished, run_command, running_command
from tests.integration.shards import good_records, write_shard

PATIENCE = 150.0
STRATEGIES = {
    "local": (),
    "parameter_server": ("--strategy=parameter_server", "--num_workers=2", "--num_parameter_servers=1"),
    "multi_worker_mirrored": ("--strategy=multi_worker_mirrored", "--num_workers=2"),
}


@pytest.mark.parametrize(
    "strategy",
    [
        pytest.param("local", marks=pytest.mark.slow),
        pytest.param("parameter_server", marks=pytest.mark.slow),
        "multi_worker_mirrored",
    ],
)
def test_a_run_that_is_told_to_stop_saves_and_goes_on_there(strategy: str, tmp_path: Path) -> None:
    # With batch normalisation: there a checkpoint that the chief saved alone would hang all workers.
    number = signal.SIGINT if strategy == "parameter_server" else signal.SIGTERM
    train_dir = tmp_path / "run"
    write_shard(tmp_path / "train", good_records(64))
    flags = (
        f"--train_data_pattern={tmp_path}/train",
        f"--eval_data_pattern={tmp_path}/train",
        f"--train_dir={train_dir}",
        "--model=tests.integration.chaos_models:SlowNormalisedModel",
        "--batch_size=4",
        "--log_every_n_steps=1",
        "--save_checkpoints_steps=100000",
        *STRATEGIES[strategy],
    )
    with running_command("launch.train", *flags, "--max_steps=100000") as (process, mark):
        assert process.stdout is not None
        assert any(line.startswith("training step ") for line in process.stdout)
        time.sleep(2)
        asked = time.monotonic()
        if number == signal.SIGINT:
            os.killpg(process.pid, number)  # as a terminal does: Ray's processes get it too
        else:
            process.send_signal(number)
        output, _ = process.communicate(timeout=PATIENCE)
        took = time.monotonic() - asked
        assert process.returncode == 128 + number, output
        assert f"Stopped by {number.name}" in output and "Traceback" not in output, output
        assert Finished(0, "", mark).left_behind() == []
    assert took < 60, "20 s on a machine that has nothing else to do"
    assert json.loads((train_dir / "run_state.json").read_text())["state"] == "STOPPED"
    (said,) = re.findall(r"stopped after step (\d+)", output)
    saved = latest_checkpoint(str(train_dir))
    assert saved is not None and saved.step == int(said) > 1, output

    resumed = run_command("launch.train", *flags, f"--max_steps={saved.step + 3}")
    assert resumed.code == 0, resumed.output
    steps = [int(step) for step in re.findall(r"training step (\d+)", resumed.output)]
    # An asynchronous run may pass its last step by less than the number of its workers.
    most = saved.step + 3 + (strategy == "parameter_server")
    assert steps and saved.step < min(steps) <= most, "no step is made twice"
    assert resumed.left_behind() == []


@pytest.mark.parametrize(
    "strategy", ["parameter_server", pytest.param("multi_worker_mirrored", marks=pytest.mark.slow)]
)
def test_a_command_that_is_killed_leaves_nothing(strategy: str, tmp_path: Path) -> None:
    write_shard(tmp_path / "train", good_records(64))
    with running_command(
        "launch.train",
        f"--train_data_pattern={tmp_path}/train",
        f"--eval_data_pattern={tmp_path}/train",
        f"--train_dir={tmp_path}/run",
        "--batch_size=4",
        "--max_steps=1000000",
        *STRATEGIES[strategy],
    ) as (process, mark):
        assert process.stdout is not None
        assert any("first step: chief-0" in line for line in process.stdout)
        os.kill(process.pid, signal.SIGKILL)
        assert Finished(0, "", mark).left_behind(patience=10.0) == []
