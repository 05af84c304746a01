"""A disk that runs full, and a train_dir that vanishes, under a run that is at work: told, and nothing is lost."""

from __future__ import annotations

import shutil
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from estimators.checkpoint_soundness import flaw_of
from tests.integration.commands import Finished, command_environment, run_command, running_command
from tests.integration.shards import good_records, write_shard

ROOT = Path(__file__).parents[2]
CLUSTER = ("--strategy=multi_worker_mirrored", "--num_workers=2")
WHERE = [pytest.param((), id="local"), pytest.param(CLUSTER, id="cluster", marks=pytest.mark.slow)]
# A disk of its own, as large as a few checkpoints; what is on it is copied before it goes with its namespace.
SMALL_DISK = """
set -e
mount -t tmpfs -o size=1500k tmpfs "$1"
set +e
shift_to="$2"; disk="$1"; shift 2
"$@"
code=$?
rm -rf "$shift_to"
cp -r "$disk/run" "$shift_to"
exit $code
"""


def _flags(folder: Path, run: Path) -> list[str]:
    return [
        f"--train_data_pattern={folder}/train-*",
        f"--train_dir={run}",
        "--batch_size=4",
        "--image_size=32",
        "--save_checkpoints_steps=5",
        "--keep_checkpoint_max=0",
    ]


def _on_a_small_disk(folder: Path, *flags: str) -> Finished:
    disk, mark = folder / "disk", uuid.uuid4().hex
    disk.mkdir()
    command = [sys.executable, "-m", "launch.train", *_flags(folder, disk / "run"), *flags]
    done = subprocess.run(
        [
            "unshare",
            "--user",
            "--map-root-user",
            "--mount",
            "sh",
            "-c",
            SMALL_DISK,
            "sh",
            disk,
            folder / "run",
            *command,
        ],
        env=command_environment(mark),
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
        check=False,
    )
    return Finished(done.returncode, done.stdout, mark)


def _can_mount() -> bool:
    probe = ["unshare", "--user", "--map-root-user", "--mount", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
    return (
        shutil.which("unshare") is not None and subprocess.run(probe, capture_output=True, check=False).returncode == 0
    )


@pytest.mark.skipif(
    not _can_mount(), reason="a disk of one's own is wanted: unshare --user --mount is not allowed here"
)
@pytest.mark.parametrize("strategy", WHERE)
def test_a_full_disk_is_told_and_the_checkpoints_before_it_stay(strategy: tuple[str, ...], tmp_path: Path) -> None:
    write_shard(tmp_path / "train-0", good_records(40))
    done = _on_a_small_disk(tmp_path, "--max_steps=500", *strategy)
    assert done.code == 3, done.output
    assert "Traceback" not in done.output and done.output.count("error: ") == 1, done.output
    for text in ("--train_dir is full", "No space left on device", "make room", "--keep_checkpoint_max"):
        assert text in done.output, done.output
    assert done.left_behind() == []

    # What is left is sound, and the same command goes on from it where there is room.
    run = tmp_path / "run"
    steps = sorted(int(path.stem.split("-")[1]) for path in run.glob("model.ckpt-*.index"))
    assert steps and all(flaw_of(f"{run}/model.ckpt-{step}") is None for step in steps)
    assert f'model_checkpoint_path: "model.ckpt-{steps[-1]}"' in (run / "checkpoint").read_text()
    half = [path.name for path in run.iterdir() if "temp" in path.name or "partial" in path.name or "tmp" in path.name]
    assert half == [] and len(list(run.glob("model.ckpt-*"))) == 2 * len(steps)
    rest = run_command("launch.train", *_flags(tmp_path, run), f"--max_steps={steps[-1] + 5}")
    assert rest.code == 0 and "torn" not in rest.output, rest.output


@pytest.mark.parametrize("strategy", WHERE)
def test_a_train_dir_that_vanishes_is_told(strategy: tuple[str, ...], tmp_path: Path) -> None:
    write_shard(tmp_path / "train-0", good_records(40))
    run = tmp_path / "run"
    with running_command("launch.train", *_flags(tmp_path, run), "--max_steps=1000000", *strategy) as (process, mark):
        assert process.stdout is not None
        assert any(line.startswith("training step 50 ") for line in process.stdout)
        run.rename(tmp_path / "away")  # as an unmount does
        output = process.stdout.read()
        assert process.wait(timeout=120) == 3, output
        assert "--train_dir is gone" in output and "bring the folder back" in output and "Traceback" not in output
        assert Finished(3, output, mark).left_behind() == []
    assert not run.exists(), "nothing is written in the place of a folder that comes back"
    (tmp_path / "away").rename(run)
    steps = sorted(int(path.stem.split("-")[1]) for path in run.glob("model.ckpt-*.index"))
    assert run_command("launch.train", *_flags(tmp_path, run), f"--max_steps={steps[-1] + 5}").code == 0
