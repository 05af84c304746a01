"""Runs the commands as a user does, and finds what they leave behind."""

from __future__ import annotations

import contextlib
import os
import random
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

# The variable that all descendants of a command inherit.
MARK = "CVD_TEST_COMMAND"
_ROLES = ("cvd_cluster.roles.role_main", "ray::RoleActor")
_ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Finished:
    """A command that ended."""

    code: int
    output: str
    mark: str

    @property
    def lines(self) -> list[str]:
        return self.output.splitlines()

    def left_behind(self, patience: float = 30.0) -> list[str]:
        """Command lines of processes that it started and that live on, after a moment of patience."""
        return _lived_on(self.mark, patience)


def run_command(
    module: str,
    *flags: str,
    timeout: float = 180.0,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> Finished:
    """`python -m module flags…`, with stdout and stderr together; all it started is ended if it takes too long."""
    mark = uuid.uuid4().hex
    process = subprocess.Popen(
        [sys.executable, "-m", module, *flags],
        env=command_environment(mark, env),
        cwd=cwd or _ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        output, _ = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        end_processes_with(mark)
        process.kill()  # it may carry another mark, of `env`
        output, _ = process.communicate()
        raise AssertionError(f"{module} did not end within {timeout} s:\n{output[-4000:]}") from None
    return Finished(process.returncode, output, mark)


@contextlib.contextmanager
def running_command(
    module: str, *flags: str, env: Mapping[str, str] | None = None
) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The same, still running, as the leader of a process group: yields the process and its mark.

    Its stdout can be read line by line; so that a test cannot wait for its next line for ever, it is ended after ten
    minutes.
    """
    mark = uuid.uuid4().hex
    process = subprocess.Popen(
        [sys.executable, "-m", module, *flags],
        env=command_environment(mark, env),
        cwd=_ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    timer = threading.Timer(600, process.kill)
    timer.daemon = True
    timer.start()
    try:
        yield process, mark
    finally:
        timer.cancel()
        end_processes_with(mark)
        process.communicate()


def free_port(host: str) -> int:
    """A port that nobody listens on, below those that the system gives out: nobody is given it before it is used."""
    while True:
        port = random.randrange(20_000, 32_000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind((host, port))
            return port


def command_environment(mark: str, extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """This environment with a mark that all descendants inherit, and without a Ray to join."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("RAY_", "TF_CONFIG"))}
    return {**kept, "PYTHONPATH": str(_ROOT), MARK: mark, **(extra or {})}


def roles_with(mark: str) -> set[int]:
    """The process ids of roles and their actors that carry a mark; in a cluster that was there that is its raylets'."""
    return set(_command_lines(mark, *_ROLES))


def roles_left_behind(mark: str, patience: float = 30.0) -> list[str]:
    """Command lines of those that live on, after a moment of patience."""
    return _lived_on(mark, patience, *_ROLES)


def _lived_on(mark: str, patience: float, *words: str) -> list[str]:
    until = time.monotonic() + patience
    while (found := _command_lines(mark, *words)) and time.monotonic() < until:
        time.sleep(0.2)
    return list(found.values())


def _command_lines(mark: str, *words: str) -> dict[int, str]:
    """Process id -> command line with one of the words, if there are any."""
    lines = {}
    for process in _marked(mark):
        with contextlib.suppress(psutil.Error):  # it may have ended since
            line = " ".join(process.cmdline())
            if not words or any(word in line for word in words):
                lines[process.pid] = line[:200]
    return lines


def end_processes_with(mark: str) -> None:
    """Ends all that carry the mark, by process id, and returns when they are gone.

    A process that is being killed writes on for a moment, and what was forked while the others were looked up is
    only seen by the next look.
    """
    until = time.monotonic() + 30
    while processes := _marked(mark):
        assert time.monotonic() < until, f"these do not end though they were killed: {processes}"
        for process in processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        time.sleep(0.1)


def _marked(mark: str) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.status() != psutil.STATUS_ZOMBIE and process.environ().get(MARK) == mark:
                found.append(process)
    return found
