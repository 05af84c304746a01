"""A bucket that closes in the middle of a run: told as such, and the same command continues it."""

from __future__ import annotations

import time
from pathlib import Path

from estimators import storage
from tests.buckets.emulator import Emulator
from tests.integration.commands import run_command, running_command
from tests.integration.shards import good_records, write_shard


def test_a_run_whose_bucket_is_closed_ends_with_a_message_and_is_continued(
    emulator: Emulator, bucket: str, tmp_path: Path
) -> None:
    write_shard(tmp_path / "train-0", good_records(16))
    flags = (
        f"--train_data_pattern={tmp_path}/train-0", f"--train_dir={bucket}/run", "--model=LogisticModel",
        "--batch_size=16", "--image_size=8", "--save_checkpoints_steps=5",
    )  # fmt: skip
    with running_command("launch.train", *flags, "--num_epochs=100000", env=emulator.environment) as (process, _):
        until = time.monotonic() + 300
        while not storage.exists(f"{bucket}/run/model.ckpt-5.index"):
            assert process.poll() is None and time.monotonic() < until
            time.sleep(0.1)
        emulator.closed.add(bucket.removeprefix("gs://"))
        output, _ = process.communicate(timeout=300)
    assert process.returncode == 3, output
    assert "error: --train_dir cannot be written, so the run ends here" in output and "Traceback" not in output, output
    assert f"--train_dir={bucket}/run" in output and "without --start_new_model" in output
    emulator.forget()
    done = run_command("launch.train", *flags, "--num_epochs=5", env=emulator.environment)
    assert done.code == 0, done.output
