"""Ray's own processes die under a run that is at work: told, with the exit code of a failed Ray."""

from __future__ import annotations

import json
import re
from pathlib import Path

import psutil
import pytest

from tests.integration.commands import Finished, running_command
from tests.integration.shards import good_records, write_shard


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("gcs_server", "Ray is gone"),
        ("raylet", "A node was lost, and the cluster has no room"),
    ],
)
@pytest.mark.slow
def test_a_run_whose_own_ray_is_killed_says_so_and_leaves_nothing(name: str, told: str, tmp_path: Path) -> None:
    write_shard(tmp_path / "train", good_records(40))
    with running_command(
        "launch.train",
        f"--train_data_pattern={tmp_path}/train",
        f"--train_dir={tmp_path}/run",
        "--strategy=multi_worker_mirrored",
        "--num_workers=2",
        "--batch_size=4",
        "--image_size=32",
        "--max_steps=1000000",
    ) as (process, mark):
        assert process.stdout is not None
        assert any(line.startswith("training step ") for line in process.stdout)
        (victim,) = [one for one in psutil.Process(process.pid).children(recursive=True) if one.name() == name]
        victim.kill()
        output = process.stdout.read()
        assert process.wait(timeout=120) == 3, output
        assert f"error: {told}" in output and "Traceback" not in output, output
        assert re.search("the same command .*without --start_new_model", output), output
        assert Finished(3, output, mark).left_behind() == []
    assert json.loads((tmp_path / "run" / "run_state.json").read_text())["state"] == "FAILED"
