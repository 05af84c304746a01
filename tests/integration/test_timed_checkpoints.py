"""Checkpoints by the clock, where saving in different steps would hang: synchronous workers that normalise batches."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.commands import run_command


@pytest.mark.slow
def test_synchronous_workers_save_by_the_clock_in_one_step(photos: Path, tmp_path: Path) -> None:
    done = run_command(
        "launch.train",
        f"--train_data_pattern={photos}/catsvsdogs/train/*",
        f"--train_dir={tmp_path}/run",
        "--model=ResNetModel",
        "--batch_size=8",
        "--max_steps=150",
        "--save_checkpoints_steps=0",
        "--save_checkpoints_secs=0.5",
        "--keep_checkpoint_max=0",
        "--strategy=multi_worker_mirrored",
        "--num_workers=2",
        timeout=240,
    )
    assert done.code == 0, done.output
    assert not done.left_behind()
    steps = sorted(int(path.suffixes[0][6:]) for path in (tmp_path / "run").glob("model.ckpt-*.index"))
    assert steps[0] == 0 and steps[-1] == 150
    assert len(steps) >= 4, steps
