"""Where nothing is up but the head, the commands bring up the machines that they need, with plain flags."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.commands import run_command
from tests.integration.growing_cluster import growing_cluster
from tests.integration.shards import good_records, write_shard

_CPUS, _MOST = 2, 3


@pytest.fixture(scope="module")
def cluster() -> Iterator[dict[str, str]]:
    with growing_cluster(_CPUS, _MOST) as environment:
        yield environment


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    records = good_records(192)
    for number in range(3):
        write_shard(folder / f"part-{number}", records[64 * number : 64 * (number + 1)])
    return folder


def train_flags(data: Path, train_dir: Path, workers: int) -> list[str]:
    return [
        f"--train_data_pattern={data}/*", f"--train_dir={train_dir}", "--batch_size=16", "--max_steps=20",
        "--strategy=multi_worker_mirrored", f"--num_workers={workers}",
    ]  # fmt: skip


def test_what_the_cluster_may_never_bring_up_is_told_at_once(
    cluster: dict[str, str], data: Path, tmp_path: Path
) -> None:
    began = time.monotonic()
    told = run_command("launch.train", *train_flags(data, tmp_path / "run", 7), env=cluster)
    assert told.code == 4 and "This cluster can never hold this run" in told.output, told.output
    assert "bootstrap.yaml allows at most 3 machines in all, of these: 3 cpu (2 CPUs)" in told.output, told.output
    assert time.monotonic() - began < 60 and not (tmp_path / "run").exists()


@pytest.mark.slow
def test_training_evaluation_and_inference_bring_machines(cluster: dict[str, str], data: Path, tmp_path: Path) -> None:
    train_dir = tmp_path / "run"
    trained = run_command("launch.train", *train_flags(data, train_dir, 3), env=cluster)
    assert trained.code == 0 and "waiting up to 900 s for more" in trained.output, trained.output
    events = [json.loads(line) for line in (train_dir / "events.jsonl").read_text().splitlines()]
    hosts = {event["host"] for event in events if event["event"] == "process_started"}
    assert len(hosts) == 2, "three workers on machines with two CPUs"

    flags = [f"--train_dir={train_dir}", f"--eval_data_pattern={data}/*", "--batch_size=16"]
    evaluated = run_command("launch.eval", *flags, "--eval_workers=5", "--run_once", env=cluster)
    assert evaluated.code == 0 and "waiting up to 900 s" in evaluated.output, evaluated.output

    output = tmp_path / "submission.csv"
    flags = [f"--train_dir={train_dir}", f"--input_data_pattern={data}/*", f"--output_file={output}"]
    predicted = run_command("launch.inference", *flags, env=cluster)
    assert predicted.code == 0 and len(output.read_text().splitlines()) == 1 + 192, predicted.output


def test_the_autoscaler_is_seen_from_every_node(cluster: dict[str, str]) -> None:
    # A task that wants a CPU runs on a machine that was brought up for it; the autoscaler runs on the head.
    program = """
import ray
from cvd_cluster.autoscaler import autoscaler_of_cluster
ray.init(log_to_driver=False)
here, there = autoscaler_of_cluster(), ray.get(ray.remote(num_cpus=1)(autoscaler_of_cluster).remote())
print(here == there, here.path)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], env=cluster, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.stdout.startswith("True /tmp/"), done.stdout + done.stderr


@pytest.mark.slow
def test_a_job_whose_command_computes_itself_brings_a_machine_for_it(tmp_path: Path) -> None:
    flags = [f"--output={tmp_path}/drawn", "--synthetic=10"]
    with growing_cluster(_CPUS, _MOST, with_jobs=True) as fresh:
        done = run_command(
            "launch.submit", "prepare_data", f"--address={fresh['JOBS']}", "--", *flags, env=fresh, timeout=240
        )
    assert done.code == 0 and (tmp_path / "drawn" / "manifest.json").exists(), done.output
    # The head has no CPU for it: this is the log of a machine that has come.
    assert "pictures in" in done.output and "succeeded" in done.output, done.output


@pytest.mark.slow
def test_inference_brings_the_machines_for_its_predictors(model_dir: Path, data: Path, tmp_path: Path) -> None:
    output = tmp_path / "submission.csv"
    flags = [f"--model_dir={model_dir}", f"--input_data_pattern={data}/*", f"--output_file={output}"]
    with growing_cluster(_CPUS, _MOST) as fresh:
        none = run_command("launch.inference", *flags, "--gpus_per_worker=1", env=fresh)
        assert none.code == 4 and "3 cpu (2 CPUs)" in none.output and "--gpus_per_worker" in none.output, none.output
        predicted = run_command("launch.inference", *flags, "--max_worker_count=40", env=fresh)
    assert predicted.code == 0 and len(output.read_text().splitlines()) == 1 + 192, predicted.output
    assert "waiting up to 900 s for more" in predicted.output, predicted.output
