"""A disk that runs full, and a train_dir that vanishes, under a run that is at work: told, and nothing is lost."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from estimators.checkpoints.checkpoint_soundness import flaw_of
from estimators.records.record_schema import serialize_example
from tests.estimators.drawn_records import picture
from tests.integration.commands import Finished, command_environment, run_command, running_command
from tests.integration.prediction_runs import OLD
from tests.integration.shards import good_records, write_shard

ROOT = Path(__file__).parents[2]
STEP = re.compile(r"training step (\d+) ")
CLUSTER = ("--strategy=multi_worker_mirrored", "--num_workers=2")
SERVED = ("--strategy=parameter_server", "--num_workers=2", "--num_parameter_servers=1")
WHERE = [
    pytest.param((), id="local"),
    pytest.param(CLUSTER, id="multi_worker_mirrored", marks=pytest.mark.slow),
    pytest.param(SERVED, id="parameter_server", marks=pytest.mark.slow),
]
# A disk of its own, with what is in the folder already; what is on it is copied before it goes with its namespace.
SMALL_DISK = """
set -e
mount -t tmpfs -o size="$1" tmpfs "$2"
shift_to="$3"; disk="$2"; shift 3
test ! -d "$shift_to" || cp -r "$shift_to" "$disk/run"
set +e
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


def _on_a_small_disk(size: str, folder: Path, module: str, *flags: str) -> Finished:
    """Runs a command with `folder`/disk of that size; what is in its run/ before and after is in `folder`/run."""
    disk, mark = folder / "disk", uuid.uuid4().hex
    disk.mkdir()
    command = [sys.executable, "-m", module, *flags]
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
            size,
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


own_disk = pytest.mark.skipif(
    not _can_mount(), reason="a disk of one's own is wanted: unshare --user --mount is not allowed here"
)


@own_disk
@pytest.mark.parametrize("strategy", WHERE)
def test_a_full_disk_is_told_and_the_checkpoints_before_it_stay(strategy: tuple[str, ...], tmp_path: Path) -> None:
    write_shard(tmp_path / "train-0", good_records(40))
    flags = (*_flags(tmp_path, tmp_path / "disk" / "run"), "--max_steps=500", *strategy)
    done = _on_a_small_disk("1500k", tmp_path, "launch.train", *flags)
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


@own_disk
def test_a_full_disk_under_predictions_is_told_and_the_older_submission_stays(model_dir: Path, tmp_path: Path) -> None:
    records = [serialize_example(picture(9), f"{i}-{'x' * 300}") for i in range(1000)]
    write_shard(tmp_path / "test", records)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "out.csv").write_text(OLD)

    def flags(run: Path) -> tuple[str, ...]:
        return (f"--model_dir={model_dir}", f"--input_data_pattern={tmp_path}/test", f"--output_file={run}/out.csv")

    done = _on_a_small_disk("100k", tmp_path, "launch.inference", *flags(tmp_path / "disk" / "run"))
    assert done.code == 2 and done.output.count("error: ") == 1 and "Traceback" not in done.output, done.output
    assert "No space left on device" in done.output and "--output_file" in done.output, done.output
    assert done.left_behind() == []
    assert (tmp_path / "run" / "out.csv").read_text() == OLD
    assert not list((tmp_path / "run").rglob("*.partial"))
    rest = run_command("launch.inference", *flags(tmp_path / "run"))
    assert rest.code == 0, rest.output
    assert len((tmp_path / "run" / "out.csv").read_text().splitlines()) == 1001


@pytest.mark.parametrize("strategy", WHERE)
def test_a_train_dir_that_vanishes_is_told(strategy: tuple[str, ...], tmp_path: Path) -> None:
    write_shard(tmp_path / "train-0", good_records(40))
    run = tmp_path / "run"
    with running_command("launch.train", *_flags(tmp_path, run), "--max_steps=1000000", *strategy) as (process, mark):
        assert process.stdout is not None
        # An asynchronous chief makes some of the steps alone.
        assert any((found := STEP.match(line)) and int(found[1]) >= 50 for line in process.stdout)
        run.rename(tmp_path / "away")  # as an unmount does
        output = process.stdout.read()
        assert process.wait(timeout=120) == 3, output
        assert "--train_dir is gone" in output and "bring the folder back" in output and "Traceback" not in output
        assert Finished(3, output, mark).left_behind() == []
    assert not run.exists(), "nothing is written in the place of a folder that comes back"
    (tmp_path / "away").rename(run)
    steps = sorted(int(path.stem.split("-")[1]) for path in run.glob("model.ckpt-*.index"))
    assert run_command("launch.train", *_flags(tmp_path, run), f"--max_steps={steps[-1] + 5}").code == 0
