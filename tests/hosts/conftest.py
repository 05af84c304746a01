"""One cluster on two hosts for all tests here, and what they train on."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hosts.hosts import hosts_in, missing
from tests.hosts.on_prem_cluster import OnPremCluster, cluster_up
from tests.hosts.runs import until


@pytest.fixture(scope="session")
def folder() -> Iterator[Path]:
    """A folder that every host sees; short, since paths of sockets lie in it."""
    made = Path(tempfile.mkdtemp(prefix="cvd-hosts-"))
    yield made
    shutil.rmtree(made)


@pytest.fixture(scope="session")
def cluster(folder: Path) -> Iterator[OnPremCluster]:
    if why := missing():
        pytest.fail(f"THE TESTS ON HOSTS CANNOT RUN HERE, and nothing of them ran: {why}", pytrace=False)
    with hosts_in(folder / "hosts", "h1", "h2") as hosts, cluster_up(hosts, folder) as up:
        yield up
    # All of it was ended by `ray down` or with its host, by the kernel and in a moment.
    find = ("pgrep", "-af", str(folder))
    until(lambda: subprocess.run(find, capture_output=True, check=False).returncode, 30, "all hosts are gone")


@pytest.fixture(scope="session")
def data(cluster: OnPremCluster, folder: Path) -> Path:
    """A drawn data set, made by a job."""
    drawn = folder / "data"
    done = cluster.submit("prepare_data", "--synthetic=200", "--num_shards=8", f"--output={drawn}", job="draw")
    assert done.returncode == 0, done.stdout
    return drawn


@pytest.fixture(scope="session")
def trained(cluster: OnPremCluster, data: Path, folder: Path) -> Path:
    """The train_dir of a small run that was evaluated."""
    train_dir = folder / "trained"
    flags = [f"--train_data_pattern={data}/train/*", f"--eval_data_pattern={data}/validation/*"]
    flags += [f"--train_dir={train_dir}", "--batch_size=16", "--max_steps=20", "--save_checkpoints_steps=10"]
    done = cluster.submit("train", *flags, job="trained")
    assert done.returncode == 0, done.stdout
    return train_dir
