from __future__ import annotations

import errno
import http.server
import json
import shlex
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import ray
import requests

from cvd_cluster import job_submission
from cvd_cluster.job_options import AttachOptions, SubmitOptions
from estimators.errors import HarnessError, InfrastructureError, UserError
from tests.cvd_cluster.fake_job_client import JOB, FakeJobClient

ADDRESS = "http://127.0.0.1:8265"


@pytest.fixture
def client(monkeypatch) -> FakeJobClient:
    made = FakeJobClient([["step 1\n"]])
    monkeypatch.setattr(job_submission, "connected", lambda address: made)
    return made


def options(**values: object) -> SubmitOptions:
    return SubmitOptions(**{"address": ADDRESS, **values})  # type: ignore[arg-type]


def test_flags_reach_the_job_as_they_were_typed(client):
    flags = ["--train_data_pattern=/data/train/*", "--note=it's $HOME", "--num_workers=2"]
    assert job_submission.submit("train", flags, options()) == 0
    assert shlex.split(client.submitted["entrypoint"]) == ["python", "-m", "launch.train", *flags]


def test_a_job_gets_the_folder_and_time_for_its_last_checkpoint_and_no_secret(client, tmp_path, monkeypatch):
    monkeypatch.setenv("RAY_AUTH_TOKEN", "secret")
    job_submission.submit("train", ["--x=1"], options(working_dir=str(tmp_path), stop_wait_seconds=90))
    assert client.submitted["working_dir"] == str(tmp_path)
    assert client.submitted["env_vars"] == {"RAY_JOB_STOP_WAIT_TIME_S": "90"}


@pytest.mark.parametrize(
    ("command", "values", "cpus", "gpus"),
    [
        ("train", {}, 1, None),
        ("train --strategy=parameter_server", {}, None, None),
        ("train --strategy local --strategy multi_worker_mirrored", {}, None, None),
        ("train --strategy=mirrored", {"job_gpus": 4.0}, 1, 4),
        ("inference", {}, None, None),
        ("eval", {}, 1, None),
        ("eval --eval_workers=1", {}, 1, None),
        ("eval --eval_workers=4", {}, None, None),
        ("prepare_data", {}, 1, None),
        ("eval", {"job_cpus": 0.0}, None, None),
        ("eval", {"job_cpus": 4.0, "job_gpus": 1.0}, 4, 1),
    ],
)
def test_what_computes_in_the_command_itself_does_not_run_on_the_head(client, command, values, cpus, gpus):
    command, *flags = command.split()
    job_submission.submit(command, [*flags, "--x=1"], options(**values))
    assert (client.submitted["cpus"], client.submitted["gpus"]) == (cpus, gpus)


def test_a_mirrored_run_that_would_train_on_no_gpu_is_refused(client):
    with pytest.raises(UserError, match="this job is given none") as caught:
        job_submission.submit("train", ["--strategy=mirrored"], options(job_cpus=4.0))
    assert "--job_gpus" in caught.value.change and client.submitted == {}


def test_a_tunnel_that_begins_is_waited_for(monkeypatch, capsys):
    monkeypatch.setattr(job_submission, "_RETRY_SECONDS", 0.1)
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        timer = threading.Timer(0.5, server.listen)
        timer.start()
        job_submission._try_connection("127.0.0.1", server.getsockname()[1])
        timer.join()
    assert capsys.readouterr().err.count("nobody listens at 127.0.0.1") == 1


def test_a_person_is_told_how_to_attach_and_how_to_stop(client, capsys):
    job_submission.submit("train", ["--x=1"], options(job=JOB))
    out, err = capsys.readouterr()
    assert out == "step 1\n"  # the log alone, so that it can be piped
    assert f"launch.submit attach --address={ADDRESS} --job={JOB}" in err
    assert f"ray job stop --address={ADDRESS} {JOB}" in err and f"job {JOB} succeeded" in err


def test_a_job_that_was_attached_to_ends_as_it_did(client):
    client.states, client.exit_code = ["FAILED"], 4
    assert job_submission.attach(AttachOptions(address=ADDRESS, job=JOB)) == 4
    assert client.submitted == {}


def test_ctrl_c_lets_go_of_the_job_and_says_so(client, capsys, monkeypatch):
    def interrupted(*args: object, **kwargs: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(job_submission, "follow_job", interrupted)
    with pytest.raises(KeyboardInterrupt):
        job_submission.submit("train", ["--x=1"], options(job=JOB))
    assert f"let go of job {JOB}, which goes on" in capsys.readouterr().err


def test_a_working_dir_that_is_not_there_is_told_before_anything_is_sent(client, tmp_path):
    with pytest.raises(UserError, match="--working_dir is not a folder"):
        job_submission.submit("train", ["--x=1"], options(working_dir=str(tmp_path / "nowhere")))
    assert client.submitted == {}


@pytest.mark.parametrize(("found", "told"), [
    ("Package size (600.00MiB) exceeds the maximum size of 512.00MiB.", "--working_dir is too large"),
    ("Job with submission_id a already exists", "--job is the id of another job"),
    ("Request failed with status code 500: no space", "did not take the job"),
])  # fmt: skip
def test_what_the_cluster_refuses_is_told_with_the_flag(client, monkeypatch, found, told):
    def refuse(**kwargs: object) -> str:
        raise RuntimeError(found)

    monkeypatch.setattr(client, "submit_job", refuse)
    with pytest.raises(HarnessError, match=told):
        job_submission.submit("train", ["--x=1"], options(job="a"))


def test_a_cluster_that_is_still_starting_is_waited_for(client, capsys, monkeypatch):
    monkeypatch.setattr(job_submission, "_RETRY_SECONDS", 0)
    answers = [RuntimeError("status code 500: No available agent to submit job, please try again later.")] * 3
    submit_job = client.submit_job

    def start_slowly(**given: Any) -> Any:
        if answers:
            raise answers.pop()
        return submit_job(**given)

    monkeypatch.setattr(client, "submit_job", start_slowly)
    assert job_submission.submit("train", ["--x=1"], options()) == 0
    assert capsys.readouterr().err.count("still starting") == 1


@pytest.mark.parametrize("name", [None, "first"])
def test_a_job_whose_answer_is_lost_is_submitted_once_and_followed(client, capsys, monkeypatch, name):
    monkeypatch.setattr(job_submission, "_RETRY_SECONDS", 0)
    taken: list[str] = []
    submit_job = client.submit_job

    def take_and_say_nothing(**given: Any) -> Any:
        if given["submission_id"] in taken:
            raise RuntimeError(f"Job with submission_id {given['submission_id']} already exists")
        taken.append(given["submission_id"])
        submit_job(**given)
        raise requests.exceptions.ReadTimeout("no answer for 60 s")

    monkeypatch.setattr(client, "submit_job", take_and_say_nothing)
    assert job_submission.submit("train", ["--x=1"], options(job=name)) == 0
    assert len(taken) == 1 and taken[0].startswith(name or "train-")
    assert "connection lost while the job was submitted" in capsys.readouterr().err


def test_a_job_of_that_name_that_is_somebody_elses_is_not_followed_when_an_answer_is_lost(client, monkeypatch):
    monkeypatch.setattr(job_submission, "_RETRY_SECONDS", 0)
    client.submitted = {"metadata": {}}
    answers = [RuntimeError("Job with submission_id first already exists"), requests.exceptions.ReadTimeout("lost")]

    def submit_job(**given: Any) -> Any:
        raise answers.pop()

    monkeypatch.setattr(client, "submit_job", submit_job)
    with pytest.raises(UserError, match="--job is the id of another job"):
        job_submission.submit("train", ["--x=1"], options(job="first"))


def test_ctrl_c_while_a_job_is_submitted_tells_how_to_find_it(client, capsys, monkeypatch):
    def interrupted(**given: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(client, "submit_job", interrupted)
    with pytest.raises(KeyboardInterrupt):
        job_submission.submit("train", ["--x=1"], options(job=JOB))
    said = capsys.readouterr().err
    assert f"attach --address={ADDRESS} --job={JOB}" in said and f"ray job stop --address={ADDRESS} {JOB}" in said


@pytest.mark.parametrize("job", ["a/b", "a?b", "../a", "a b", "#", ".", ".."])
def test_an_id_that_ray_can_make_no_file_and_no_url_of_is_refused(job):
    with pytest.raises(UserError, match="--job is not the id of a job"):
        options(job=job)
    with pytest.raises(UserError, match="--job is not the id of a job"):
        AttachOptions(address=ADDRESS, job=job)


def test_a_connection_that_stays_lost_while_a_job_is_submitted_is_told_with_how_to_find_it(client, monkeypatch):
    monkeypatch.setattr(job_submission, "_RETRY_SECONDS", 0)

    def lose(**given: Any) -> Any:
        raise requests.exceptions.ConnectionError("refused")

    monkeypatch.setattr(client, "submit_job", lose)
    with pytest.raises(InfrastructureError, match="lost while the job was submitted") as caught:
        job_submission.submit("train", ["--x=1"], options(job="mine", patience_seconds=0.05))
    assert "--job=mine" in caught.value.change


def test_a_cluster_that_nobody_starts_jobs_on_is_given_up_and_told(client, monkeypatch):
    monkeypatch.setattr(job_submission, "_RETRY_SECONDS", 0)
    monkeypatch.setattr(job_submission, "_AGENT_SECONDS", 0.1)

    def refuse(**given: Any) -> Any:
        raise RuntimeError("status code 500: No available agent to submit job, please try again later.")

    monkeypatch.setattr(client, "submit_job", refuse)
    with pytest.raises(InfrastructureError, match="job agent is not running") as caught:
        job_submission.submit("train", ["--x=1"], options())
    assert "--dashboard-agent-listen-port" in caught.value.change


@pytest.mark.parametrize("address", ["127.0.0.1:8265", "ray://127.0.0.1:10001", "auto", "http://", "http://h:port"])
def test_an_address_that_is_no_url_is_told(address):
    with pytest.raises(UserError, match="--address is not the URL"):
        options(address=address)


def test_a_server_that_is_not_rays_is_told_as_such(monkeypatch):
    monkeypatch.setenv("RAY_API_SERVER_ADDRESS", "")  # put back at the end
    server = http.server.HTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        with pytest.raises(UserError, match="not a job server of Ray"):
            job_submission.connected(f"http://127.0.0.1:{server.server_port}")
    finally:
        server.shutdown()
        server.server_close()


class SlowServer(http.server.BaseHTTPRequestHandler):
    """A job server that takes its time to read what it is sent."""

    def do_GET(self) -> None:
        self._answer(json.dumps({"version": "4", "ray_version": ray.__version__}).encode())

    def do_PUT(self) -> None:
        time.sleep(2)
        left = int(self.headers["Content-Length"])
        while left:
            left -= len(self.rfile.read(min(left, 1 << 20)))
        self._answer(b"")

    def _answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def slow_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("RAY_API_SERVER_ADDRESS", "")  # put back at the end
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), SlowServer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_a_package_on_a_slow_line_has_longer_than_an_answer(slow_server, monkeypatch):
    monkeypatch.setattr(job_submission, "_REQUEST_SECONDS", 1.0)
    monkeypatch.setattr(job_submission, "_SLOWEST_UPLOAD", 4 << 20)
    sent = job_submission.connected(slow_server)._do_request("PUT", "/api/packages/x", data=bytes(48 << 20))
    assert sent.status_code == 200


def test_no_proxy_is_told_the_token_where_the_tunnel_is_on_this_machine(slow_server, monkeypatch):
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")  # nobody's
    job_submission.connected(slow_server)
    with pytest.raises(requests.exceptions.ProxyError):
        requests.get(slow_server, timeout=10)


def test_a_cluster_that_is_silent_behind_its_tunnel_is_told_as_such(monkeypatch):
    monkeypatch.setenv("RAY_API_SERVER_ADDRESS", "")  # put back at the end
    monkeypatch.setattr(job_submission, "_REQUEST_SECONDS", 1.0)
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        with pytest.raises(InfrastructureError, match="the cluster behind it does not answer"):
            job_submission.connected(f"http://127.0.0.1:{server.getsockname()[1]}")


def test_a_file_that_cannot_be_packed_is_named(client, monkeypatch):
    def refuse(**given: Any) -> Any:
        raise PermissionError(errno.EACCES, "Permission denied", "/models/secret")

    monkeypatch.setattr(client, "submit_job", refuse)
    with pytest.raises(UserError, match="--working_dir cannot be packed") as caught:
        job_submission.submit("train", ["--x=1"], options())
    assert "/models/secret: Permission denied" in str(caught.value)


def test_a_full_disk_for_temporary_files_is_told_with_how_to_use_another(client, monkeypatch):
    def refuse(**given: Any) -> Any:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(client, "submit_job", refuse)
    with pytest.raises(InfrastructureError, match="package cannot be written") as caught:
        job_submission.submit("train", ["--x=1"], options())
    assert "No space left on device" in str(caught.value) and "TMPDIR" in str(caught.value)


def test_nobody_at_the_address_is_told_with_the_tunnel(monkeypatch):
    monkeypatch.setattr(job_submission, "_TUNNEL_SECONDS", 0)
    with pytest.raises(UserError, match="`ray dashboard"):
        job_submission.connected("http://127.0.0.1:1")
