"""Whose Ray a command runs on, how it is shut off from others, and that nothing of it is left."""

from __future__ import annotations

import glob
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from cvd_cluster.embedded_ray import usable_cores
from cvd_cluster.ray_session import (
    RaySession,
    control_service_answers,
    in_ray_job,
    ray_session,
    require_absolute_paths,
)
from estimators.errors import UserError
from tests.integration.commands import Finished, command_environment

_JOB = "RAY_JOB_CONFIG_JSON_ENV_VAR"
_ROOT = Path(__file__).parents[2]
_SESSION = """
from cvd_cluster.ray_session import ray_session
from launch.flags import run_command
def main():
    with ray_session(cpus_needed=1, announce=print) as session:
        import ray
        print(session.started_here, session.address, len(ray.nodes()), flush=True)
        {body}
run_command(main)
"""


def _start(body: str, env: dict[str, str] | None = None) -> tuple[subprocess.Popen[str], str]:
    mark = uuid.uuid4().hex
    process = subprocess.Popen(
        [sys.executable, "-c", _SESSION.format(body=body)],
        env=command_environment(mark, env),
        cwd=_ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    return process, mark


def _run(body: str = "pass", env: dict[str, str] | None = None) -> Finished:
    process, mark = _start(body, env)
    output, _ = process.communicate(timeout=120)
    return Finished(process.returncode, output, mark)


@dataclass(frozen=True)
class Here:
    """A session of this process, and what it said."""

    session: RaySession
    lines: tuple[str, ...]
    token: str


@pytest.fixture(scope="module")
def here() -> Iterator[Here]:
    lines: list[str] = []
    before, children = dict(os.environ), set(psutil.Process().children())
    with ray_session(cpus_needed=usable_cores() + 0.5, announce=lines.append) as session:
        yield Here(session, tuple(lines), os.environ["RAY_AUTH_TOKEN"])
    assert {name: value for name, value in os.environ.items() if name.startswith("RAY_AUTH")} == {
        name: value for name, value in before.items() if name.startswith("RAY_AUTH")
    }
    assert set(psutil.Process().children()) == children


@pytest.mark.parametrize(
    ("address", "found"),
    [
        ("127.0.0.1:1", "refused"),
        ("http://127.0.0.1:8265", "is a URL"),
        ("ray://127.0.0.1:10001", "is a URL"),
        ("nonsense", "Invalid address format"),
    ],
)
def test_an_address_that_leads_to_no_cluster_is_told_at_once(monkeypatch, capfd, address, found):
    monkeypatch.setenv("RAY_ADDRESS", address)
    with (
        pytest.raises(UserError, match="The Ray cluster cannot be reached") as caught,
        ray_session(cpus_needed=1, announce=print),
    ):
        pass
    assert f"RAY_ADDRESS={address}" in caught.value.asked and found in caught.value.found
    assert capfd.readouterr().err == ""


def test_a_ray_of_our_own_is_on_loopback_and_has_the_cpus_that_are_asked_for(here):
    import ray

    (node,) = ray.nodes()
    assert here.session.started_here
    assert node["NodeManagerAddress"] == "127.0.0.2" and here.session.address.startswith("127.0.0.2:")
    cores = usable_cores()
    assert node["Resources"]["CPU"] == cores + 1
    assert here.lines == (
        f"Ray on this machine: {cores + 1} CPUs are asked for and it has {cores}, so they are shared",
    )


def test_other_users_cannot_reach_its_sockets_and_logs(here):
    assert _folder_of_ray().stat().st_mode & 0o077 == 0


def test_it_writes_nothing_to_speak_of_while_it_has_nothing_to_do(here):
    def log_bytes() -> int:
        return sum(log.stat().st_size for log in _folder_of_ray().glob("r/session_2*/logs/**/*") if log.is_file())

    before = log_bytes()
    time.sleep(2)
    assert 0 < before <= log_bytes() < before + (1 << 20)


def _folder_of_ray() -> Path:
    import ray

    (node,) = ray.nodes()
    folder = Path(node["RayletSocketName"])
    while not folder.name.startswith("cvd-ray-"):
        folder = folder.parent
    return folder


@pytest.mark.parametrize(
    "env",
    [{}, {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "wrong" * 8}],
    ids=["without a token", "with a wrong token"],
)
def test_a_stranger_is_refused(here, env):
    done = _run(env={"RAY_ADDRESS": here.session.address, "HOME": "/nonexistent", **env})
    assert done.code == 2, done.output
    assert done.lines[0] == "error: The Ray cluster refuses this process: its token is missing or wrong"
    assert "RAY_AUTH_MODE" in done.output and len(done.lines) == 3, done.output


def test_a_process_with_the_token_joins_and_leaves_the_cluster_up(here):
    import ray

    env = {"RAY_ADDRESS": here.session.address, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": here.token}
    done = _run(env=env)
    assert (done.code, done.output) == (0, f"False {here.session.address} 1\n")
    assert len(ray.nodes()) == 1


def test_a_session_inside_a_session_uses_the_same_ray(here):
    with ray_session(cpus_needed=1, announce=print) as inner:
        assert inner == RaySession(started_here=False, address=here.session.address)
    import ray

    assert ray.is_initialized()


def test_a_control_service_answers_as_long_as_it_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as service:
        service.bind(("127.0.0.1", 0))
        monkeypatch.setattr("cvd_cluster.ray_session._gcs_address", lambda: f"127.0.0.1:{service.getsockname()[1]}")
        assert not control_service_answers()
        service.listen()
        assert control_service_answers()


def test_two_runs_on_one_machine_do_not_meet_and_an_error_leaves_nothing(here):
    done = _run("raise ArithmeticError('of the user')", env={"RAY_ADDRESS": "local"})
    started, address, nodes = done.lines[0].split()
    assert (started, nodes) == ("True", "1") and address != here.session.address
    assert done.code == 1 and done.lines[-1] == "ArithmeticError: of the user"
    assert done.left_behind() == []


def test_a_terminated_run_ends_its_ray():
    process, mark = _start("import time; time.sleep(60)")
    assert process.stdout is not None and process.stdout.readline().startswith("True ")
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=60)
    done = Finished(process.returncode, output, mark)
    assert (done.code, done.output) == (128 + signal.SIGTERM, "")
    assert done.left_behind() == []
    assert _folders_of(process.pid) == []


def _folders_of(pid: int) -> list[str]:
    """Temporary folders that a process made; others may run on this machine."""
    owners = glob.glob(f"{tempfile.gettempdir()}/cvd-*/owner.json")
    return [os.path.dirname(owner) for owner in owners if f'"pid": {pid},' in Path(owner).read_text()]


@pytest.mark.parametrize("process_of_ray", ["gcs_server", "raylet"])
def test_a_run_that_is_terminated_while_its_ray_starts_ends_all_of_it_with_the_same_code(process_of_ray):
    process, mark = _start("import time; time.sleep(60)")
    until = time.monotonic() + 60
    while not any(process_of_ray in child.name() for child in psutil.Process(process.pid).children()):
        assert time.monotonic() < until
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=60)
    done = Finished(process.returncode, output, mark)
    assert (done.code, done.output) == (128 + signal.SIGTERM, "")
    assert done.left_behind() == []
    assert _folders_of(process.pid) == []


def test_what_a_killed_run_left_goes_with_a_later_one():
    process, mark = _start("import time; time.sleep(60)")
    assert process.stdout is not None and process.stdout.readline().startswith("True ")
    left = _folders_of(process.pid)
    process.kill()
    process.communicate()
    assert Finished(0, "", mark).left_behind(30) == [] and left
    for folder in left:
        Path(folder, "abandoned").touch()
        os.utime(f"{folder}/abandoned", (0, 0))
    assert _run().code == 0
    assert not any(os.path.exists(folder) for folder in left)


def test_relative_paths_are_refused_in_a_job_with_what_they_would_mean(monkeypatch):
    monkeypatch.setenv(_JOB, "{}")
    assert in_ray_job()
    with pytest.raises(UserError, match="A relative path in a Ray job: --output_file") as caught:
        require_absolute_paths({"train_dir": "/runs/1", "model_dir": None, "output_file": "out/submission.csv"})
    assert os.path.abspath("out/submission.csv") in caught.value.found
    assert "absolute path" in caught.value.change


@pytest.mark.parametrize("path", ["/data/*", "gs://bucket/data", "/a/*,/b/*", "~/data/x", None])
def test_paths_that_mean_the_same_everywhere_are_let_pass_in_a_job(monkeypatch, path):
    monkeypatch.setenv(_JOB, "{}")
    require_absolute_paths({"input_data_pattern": path})


def test_one_relative_pattern_among_several_is_enough(monkeypatch):
    monkeypatch.setenv(_JOB, "{}")
    with pytest.raises(UserError):
        require_absolute_paths({"input_data_pattern": "/a/*,b/*"})


def test_outside_a_job_a_relative_path_is_fine(monkeypatch):
    monkeypatch.delenv(_JOB, raising=False)
    assert not in_ray_job()
    require_absolute_paths({"output_file": "submission.csv"})
