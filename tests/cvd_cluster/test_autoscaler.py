"""How the file that an autoscaler obeys is found; a real autoscaler is in tests/integration/test_growing_cluster.py."""

from __future__ import annotations

import os
import pwd
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cvd_cluster import autoscaler

_ADDRESS = "127.0.0.9:6379"
Monitor = Callable[[str], None]


@pytest.fixture
def monitor() -> Iterator[Monitor]:
    """Starts what looks like Ray's monitor process, with this path of a file."""
    started: list[subprocess.Popen[bytes]] = []

    def start(path: str) -> None:
        flags = [f"--gcs-address={_ADDRESS}", f"--autoscaling-config={path}"]
        started.append(subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)", *flags]))

    yield start
    for process in started:
        process.kill()
        process.wait()


def test_a_file_that_cannot_be_read_is_as_none(monitor: Monitor, tmp_path: Path) -> None:
    monitor(f"{tmp_path}/gone.yaml")
    assert autoscaler._obeyed_here(_ADDRESS) is None


def test_the_home_that_is_meant_is_that_of_the_autoscalers_user(
    monitor: Monitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monitor("~/ray_bootstrap_config.yaml")
    monkeypatch.setenv("HOME", "/elsewhere")
    monkeypatch.setattr(Path, "read_text", lambda self: str(self))
    home = pwd.getpwuid(os.getuid()).pw_dir
    found = ("~/ray_bootstrap_config.yaml", f"{home}/ray_bootstrap_config.yaml")
    assert autoscaler._obeyed_here(_ADDRESS) == found
