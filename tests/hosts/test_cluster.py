"""The whole way on two hosts: up, train, evaluate, infer, stop, continue, down. `make test-cluster` runs it."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.hosts.hosts import hosts_in, missing
from tests.hosts.on_prem_cluster import ADDRESS, OnPremCluster, cluster_up

pytestmark = pytest.mark.hosts


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """A folder that every host sees; short, since paths of sockets lie in it."""
    made = Path(tempfile.mkdtemp(prefix="cvd-hosts-"))
    yield made
    shutil.rmtree(made)


@pytest.fixture(scope="module")
def cluster(folder: Path) -> Iterator[OnPremCluster]:
    if why := missing():
        pytest.fail(f"THE TESTS ON HOSTS CANNOT RUN HERE, and nothing of them ran: {why}", pytrace=False)
    with hosts_in(folder / "hosts", "h1", "h2") as hosts, cluster_up(hosts, folder) as up:
        yield up
        for host in hosts.hosts.values():
            assert "raylet" in host.run("ps", "ax").stdout
    # All of it was ended by `ray down` or with its host.
    marked = subprocess.run(["pgrep", "-af", str(folder)], capture_output=True, text=True, check=False).stdout
    assert marked == "", marked


@pytest.fixture(scope="module")
def data(cluster: OnPremCluster, folder: Path) -> Path:
    """A drawn data set, made by a job."""
    done = cluster.submit("prepare_data", "--synthetic=200", f"--output={folder}/data", job="draw")
    assert done.returncode == 0, done.stdout
    return folder / "data"


def training_flags(data: Path, train_dir: Path, strategy: str, max_steps: int, *more: str) -> list[str]:
    """Flags of a run that no host can hold alone: with 4 CPUs each, two workers of 3, or three and a server of 2."""
    topology = {
        "multi_worker_mirrored": ["--num_workers=2", "--cpus_per_worker=3"],
        "parameter_server": ["--num_workers=3", "--num_parameter_servers=1", "--cpus_per_worker=2"],
    }
    return [
        f"--train_data_pattern={data}/train/*", f"--train_dir={train_dir}", "--model=CnnModel", "--batch_size=16",
        f"--strategy={strategy}", *topology[strategy], f"--max_steps={max_steps}", "--save_checkpoints_steps=10", *more,
    ]  # fmt: skip


def events(train_dir: Path) -> list[dict[str, Any]]:
    path = train_dir / "events.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def until(reached: Callable[[], bool], patience: float, what: str) -> None:
    end = time.monotonic() + patience
    while not reached():
        assert time.monotonic() < end, f"not within {patience:g} s: {what}"
        time.sleep(0.5)


def test_both_nodes_hold_the_token_for_their_owner_alone_and_show_it_to_nobody(cluster: OnPremCluster) -> None:
    tokens = set()
    for host in cluster.hosts.hosts.values():
        said = host.run("sh", "-c", "stat -c %a ~/.ray/auth_token; cat ~/.ray/auth_token").stdout.split()
        assert said[0] == "600", said
        tokens.add(said[1])
        shown = host.run("sh", "-c", "cat /proc/[0-9]*/cmdline; cat /tmp/ray/session_latest/logs/*.* 2>/dev/null")
        assert said[1] not in shown.stdout
    assert len(tokens) == 1


def test_the_dashboard_answers_through_the_tunnel_alone(cluster: OnPremCluster) -> None:
    assert cluster.answers("127.0.0.1").returncode == 0
    for host in cluster.hosts.hosts.values():
        refused = cluster.answers(host.address)
        assert "Connection refused" in refused.stdout, refused.stdout


@pytest.mark.parametrize("strategy", ["multi_worker_mirrored", "parameter_server"])
def test_workers_train_on_different_hosts(cluster: OnPremCluster, data: Path, folder: Path, strategy: str) -> None:
    train_dir = folder / strategy
    began = time.time()
    done = cluster.submit("train", *training_flags(data, train_dir, strategy, 20), job=strategy)
    assert done.returncode == 0, done.stdout
    workers = {event["host"] for event in started(train_dir) if event["role"] in ("chief", "worker")}
    assert workers == {host.address for host in cluster.hosts.hosts.values()}
    assert list((train_dir / "export").iterdir())
    first = next(event["time"] for event in events(train_dir) if event["event"] == "first_step")
    print(f"\n{strategy}: first step {first - began:.0f} s after `launch.submit`")


def started(train_dir: Path) -> list[dict[str, Any]]:
    return [event for event in events(train_dir) if event["event"] == "process_started"]


def test_an_evaluation_job_watches_the_train_dir_of_a_training_job_that_is_stopped_and_continued(
    cluster: OnPremCluster, data: Path, folder: Path
) -> None:
    train_dir = folder / "watched"
    endless = training_flags(data, train_dir, "multi_worker_mirrored", 100_000)
    with cluster.submitting("train", *endless, job="endless") as training:
        until(lambda: any(event["event"] == "first_step" for event in events(train_dir)), 240, "the first step")
        watch = ["--eval_data_pattern=" + f"{data}/validation/*", f"--train_dir={train_dir}"]
        with cluster.submitting("eval", *watch, job="watch") as evaluating:
            until(lambda: evaluated(train_dir) > 0, 240, "an evaluated checkpoint")
            stopped = cluster.ray("job", "stop", f"--address={ADDRESS}", "endless")
            assert stopped.returncode == 0, stopped.stdout
            output, _ = training.communicate(timeout=180)
            assert training.returncode == 143 and "job endless was stopped" in output, output
            # Its run is over, and so is the evaluation, once it has seen the last checkpoint.
            seen, _ = evaluating.communicate(timeout=180)
            assert evaluating.returncode == 0, seen
    step = newest_step(train_dir)
    assert evaluated(train_dir) == step
    done = cluster.submit(
        "train", *training_flags(data, train_dir, "multi_worker_mirrored", step + 10), job="continued"
    )
    assert done.returncode == 0 and newest_step(train_dir) == step + 10, done.stdout


def newest_step(train_dir: Path) -> int:
    return max(int(path.stem.rpartition("-")[2]) for path in train_dir.glob("model.ckpt-*.index"))


def evaluated(train_dir: Path) -> int:
    """The last step that was evaluated; 0 before the first."""
    path = train_dir / "eval" / "metrics.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    return max((int(json.loads(line)["global_step"]) for line in lines), default=0)


def test_inference_on_the_cluster_gives_every_photo_its_line(cluster: OnPremCluster, data: Path, folder: Path) -> None:
    train_dir, output = folder / "local", folder / "submission.csv"
    flags = [f"--train_data_pattern={data}/train/*", f"--train_dir={train_dir}", "--batch_size=16", "--max_steps=5"]
    trained = cluster.submit("train", *flags, job="local")
    assert trained.returncode == 0, trained.stdout
    flags = [f"--train_dir={train_dir}", f"--input_data_pattern={data}/test/*", f"--output_file={output}"]
    done = cluster.submit("inference", *flags, job="infer")
    assert done.returncode == 0, done.stdout
    assert len(output.read_text().splitlines()) == 1 + 40
