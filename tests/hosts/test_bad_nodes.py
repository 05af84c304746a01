"""A cluster with a node that will not do: told in one message before anything is written."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hosts.hosts import Host
from tests.hosts.on_prem_cluster import OnPremCluster
from tests.hosts.runs import training_flags

pytestmark = pytest.mark.hosts


@contextlib.contextmanager
def other_version(cluster: OnPremCluster, package: str) -> Iterator[None]:
    """Python on h2 finds version 0.0.1 of a package, as after an installation that nobody made elsewhere."""
    find = "import site; print(site.getsitepackages()[0])"
    h2 = cluster.hosts.hosts["h2"]
    site = h2.run(str(cluster.programs / "python"), "-c", find).stdout.strip()
    folder = f"{site}/{package}-0.0.1.dist-info"
    text = f"Metadata-Version: 2.1\nName: {package}\nVersion: 0.0.1\n"
    assert h2.run("sh", "-c", f"mkdir {folder} && printf '{text}' >{folder}/METADATA").returncode == 0
    try:
        yield
    finally:
        assert h2.run("rm", "-r", folder).returncode == 0


@contextlib.contextmanager
def mounted_over(host: Host, folder: Path) -> Iterator[None]:
    """Something else of the host's own lies over a folder that all share."""
    assert host.run("mount", "-t", "tmpfs", "none", str(folder)).returncode == 0
    try:
        yield
    finally:
        assert host.run("umount", str(folder)).returncode == 0


@pytest.mark.parametrize("package", ["tensorflow", "ray"])
def test_a_node_with_another_version_is_named_with_both(
    cluster: OnPremCluster, data: Path, folder: Path, package: str
) -> None:
    train_dir = folder / "skewed"
    with other_version(cluster, package):
        flags = training_flags(data, train_dir, "multi_worker_mirrored", 20)
        done = cluster.submit("train", *flags, job=f"skewed-{package}")
    assert done.returncode == 2 and "h2 has other versions than this machine" in done.stdout, done.stdout
    assert f"found:  {package} 0.0.1" in done.stdout and "Traceback" not in done.stdout, done.stdout
    assert not train_dir.exists()


def test_a_train_dir_that_only_one_node_sees_is_told(cluster: OnPremCluster, data: Path, folder: Path) -> None:
    shared = folder / "shared"
    shared.mkdir()
    with mounted_over(cluster.hosts.hosts["h2"], shared):
        flags = training_flags(data, shared / "run", "multi_worker_mirrored", 20)
        done = cluster.submit("train", *flags, job="own-train-dir")
    assert done.returncode == 2 and "--train_dir is not the same folder on h2" in done.stdout, done.stdout
    assert "Traceback" not in done.stdout and list(shared.iterdir()) == []


def test_data_that_only_one_node_sees_is_told(cluster: OnPremCluster, data: Path, folder: Path) -> None:
    train_dir = folder / "no-data"
    with mounted_over(cluster.hosts.hosts["h2"], data / "train"):
        flags = training_flags(data, train_dir, "multi_worker_mirrored", 20)
        done = cluster.submit("train", *flags, job="own-data")
    assert done.returncode == 2 and "h2 cannot read the data" in done.stdout, done.stdout
    assert f"{data}/train/train-00000-of-00008" in done.stdout and not train_dir.exists()


def test_photos_that_only_one_node_sees_are_told_before_any_is_predicted(
    cluster: OnPremCluster, data: Path, trained: Path, folder: Path
) -> None:
    output = folder / "no-photos.csv"
    with mounted_over(cluster.hosts.hosts["h2"], data / "test"):
        flags = [f"--train_dir={trained}", f"--input_data_pattern={data}/test/*", f"--output_file={output}"]
        done = cluster.submit("inference", *flags, job="own-photos")
    assert done.returncode == 2 and "h2 cannot read the data or the model" in done.stdout, done.stdout
    assert f"{data}/test/test-00000-of-" in done.stdout and not output.exists()
