from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import psutil
import pytest

from estimators import tensorboard_server
from estimators.errors import UserError
from estimators.tensorboard_server import tensorboard_of
from tests.tensorboard_process import draw_run, get


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def await_runs(port: int) -> list[str]:
    until = time.monotonic() + 120
    while True:
        with contextlib.suppress(urllib.error.URLError, ConnectionError):
            if runs := get(f"http://127.0.0.1:{port}/data/runs"):
                return sorted(runs)
        assert time.monotonic() < until, "TensorBoard never showed a run"
        time.sleep(0.5)


def test_the_curves_of_a_run_are_shown_until_it_ends(tmp_path: Path) -> None:
    draw_run(tmp_path, {"loss": [1.0, 0.5]})
    port, lines = free_port(), list[str]()
    with tensorboard_of(str(tmp_path), port, announce=lines.append):
        assert await_runs(port) == [".", "eval"]
    assert f"http://127.0.0.1:{port}" in lines[0]
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(f"http://127.0.0.1:{port}", timeout=10)


def test_if_it_dies_that_is_told_and_the_run_goes_on(tmp_path: Path) -> None:
    before = set(psutil.Process().children())
    lines = list[str]()
    with tensorboard_of(str(tmp_path), free_port(), announce=lines.append):
        (server,) = set(psutil.Process().children()) - before
        server.kill()
        until = time.monotonic() + 30
        while len(lines) < 2 and time.monotonic() < until:
            time.sleep(0.05)
    assert lines[1].startswith("TensorBoard ended (exit code -9), the run goes on without it"), lines


def test_a_port_that_is_lost_while_it_starts_is_told_with_its_own_words(tmp_path: Path, monkeypatch) -> None:
    lines = list[str]()
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setattr(tensorboard_server, "_check_free", lambda port: None)
        with tensorboard_of(str(tmp_path), server.getsockname()[1], announce=lines.append):
            until = time.monotonic() + 60
            while len(lines) < 2 and time.monotonic() < until:
                time.sleep(0.05)
    assert "the run goes on without it: " in lines[1] and "already in use" in lines[1], lines


def test_it_ends_with_a_command_that_is_killed(tmp_path: Path) -> None:
    program = (
        "import sys, time; from estimators.tensorboard_server import tensorboard_of\n"
        "with tensorboard_of(sys.argv[1], int(sys.argv[2])): time.sleep(600)"
    )
    draw_run(tmp_path, {"loss": [1.0, 0.5]})
    port = free_port()
    command = subprocess.Popen([sys.executable, "-c", program, str(tmp_path), str(port)], stdout=subprocess.DEVNULL)
    try:
        await_runs(port)
        started = psutil.Process(command.pid).children(recursive=True)
        assert started
    finally:
        os.kill(command.pid, signal.SIGKILL)
        command.wait()
    assert psutil.wait_procs(started, timeout=30)[1] == []


def test_without_a_port_there_is_none(tmp_path: Path) -> None:
    before = psutil.Process().children()  # servers that other tests share
    with tensorboard_of(str(tmp_path), None, announce=pytest.fail):
        assert psutil.Process().children() == before


def test_a_port_that_is_taken_is_told_before_anything_begins(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(UserError, match=f"--tensorboard_port={port}"), tensorboard_of(str(tmp_path), port):
            pass


def test_a_port_that_cannot_be_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--tensorboard_port=70000"), tensorboard_of(str(tmp_path), 70000):
        pass
