"""Runs one of the commands as a job on a cluster that is up: `ray job submit` with the true exit code."""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import logging
import os
import shlex
import socket
import sys
import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from cvd_cluster.job_following import STOPPED_CODE, follow_job
from cvd_cluster.job_options import AttachOptions, SubmitOptions
from estimators.errors import HarnessError, InfrastructureError, UserError, one_line

_CONNECT_SECONDS = 5.0
_TUNNEL_SECONDS = 20.0
_MOST_SHOWN = 600
# Of silence; of an upload, whose time limit counts all of it, what the slowest line takes.
_REQUEST_SECONDS, _SLOWEST_UPLOAD = 20.0, 64 << 10
# Ray itself answers only after 10 s that there is no agent.
_AGENT_SECONDS, _RETRY_SECONDS = 120.0, 2.0
# The entry of a job's metadata that tells whose it is.
_SUBMISSION = "launch.submit"
# Of Ray's job server: DASHBOARD_CLIENT_MAX_SIZE in ray/_private/ray_constants.py, whatever Ray's other limit says.
MOST_BYTES = 100 << 20
_TOO_LARGE = "exceeds the maximum"
_ENDINGS = {0: "succeeded", STOPPED_CODE: "was stopped"}


def submit(command: str, flags: Sequence[str], options: SubmitOptions) -> int:
    """Submits `python -m launch.<command> flags…`, follows it, and returns its exit code.

    Raises:
      UserError: the working directory is not there or too large, nobody listens at the address, or the token is wrong.
      InfrastructureError: see `follow_job`.
    """
    if not Path(options.working_dir).is_dir():
        raise UserError(
            "--working_dir is not a folder",
            asked=f"--working_dir={options.working_dir}",
            change="--working_dir names the folder that holds your model, or is left out for this one",
        )
    client = connected(options.address)
    job = _submitted(client, command, flags, options)
    return _followed(client, job, options.address, options.patience_seconds)


def _submitted(client: Any, command: str, flags: Sequence[str], options: SubmitOptions) -> str:
    import requests

    entrypoint = shlex.join(["python", "-m", f"launch.{command}", *flags])
    if command == "train" and _value_of("strategy", flags, "local") == "mirrored":
        _check_has_gpus(flags, options)
    cpus = options.job_cpus if options.job_cpus is not None else float(_computes_itself(command, flags))
    environment = {
        "working_dir": options.working_dir,
        # Ray's 3 s are too short for a checkpoint.
        "env_vars": {"RAY_JOB_STOP_WAIT_TIME_S": str(options.stop_wait_seconds)},
    }
    # Chosen here: where the answer is lost, the job may have begun, and can be followed nevertheless.
    job = options.job or f"{command}-{uuid.uuid4().hex[:8]}"
    submission = uuid.uuid4().hex
    begun, told, unsure = time.monotonic(), False, False
    while True:
        try:
            return str(
                client.submit_job(
                    entrypoint=entrypoint,
                    submission_id=job,
                    runtime_env=environment,
                    entrypoint_num_cpus=cpus or None,
                    entrypoint_num_gpus=options.job_gpus or None,
                    metadata={_SUBMISSION: submission},
                )
            )
        except (KeyboardInterrupt, SystemExit):
            _tell(f"ended while job {job} was submitted, which may have begun\n{_how_to_go_on(job, options.address)}")
            raise
        except (requests.RequestException, ConnectionError) as error:
            if time.monotonic() - begun > options.patience_seconds:
                raise InfrastructureError(
                    "The connection to the cluster was lost while the job was submitted",
                    asked=f"--address={options.address}",
                    found=one_line(error),
                    change="`ray dashboard` again; whether it was taken tells `python -m launch.submit attach`, with "
                    f"the same --address and --job={job}",
                ) from None
            if not unsure:
                _tell("connection lost while the job was submitted; trying again")
            unsure = True
            time.sleep(_RETRY_SECONDS)
        except OSError as error:
            raise _not_packed(options, error) from None
        except (RuntimeError, ValueError) as error:
            if unsure and "already exists" in str(error) and _is_of(client, job, submission):
                return job
            # The job server answers some seconds before the agent that starts jobs is there.
            if "try again later" not in str(error) or time.monotonic() - begun > _AGENT_SECONDS:
                raise _refused(options, error) from None
            if not told:
                _tell("the cluster is still starting; waiting for its job agent")
            told = True
            time.sleep(_RETRY_SECONDS)


def _not_packed(options: SubmitOptions, error: OSError) -> HarnessError:
    asked = f"--working_dir={options.working_dir}"
    full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    if full or (isinstance(error, FileNotFoundError) and error.filename is None):  # the latter where no folder will do
        return InfrastructureError(
            "The job's package cannot be written",
            asked=asked,
            found=str(error.strerror or error),
            change="make room where this machine keeps temporary files, or set the environment variable TMPDIR to a "
            "folder on another disk",
        )
    return UserError(
        "--working_dir cannot be packed",
        asked=asked,
        found=f"{error.filename or options.working_dir}: {error.strerror or error}",
        change="the rights of that file or folder, or name it in the folder's .gitignore",
    )


def _is_of(client: Any, job: str, submission: str) -> bool:
    """Whether it is this command that submitted a job."""
    import requests

    with contextlib.suppress(requests.RequestException, ConnectionError, RuntimeError):
        return (client.get_job_info(job).metadata or {}).get(_SUBMISSION) == submission
    return False


def _computes_itself(command: str, flags: Sequence[str]) -> bool:
    """Whether a command computes in its own process, so that it must not run on the head, which takes no work."""
    if command == "train":
        return _value_of("strategy", flags, "local") in ("local", "mirrored")
    if command == "eval":
        # Several workers ask for CPUs of their own, and would wait for the one that their command holds.
        return _value_of("eval_workers", flags, "1") == "1"
    return command == "prepare_data"


def _value_of(name: str, flags: Sequence[str], default: str) -> str:
    """The value of a flag, as argparse reads it: the last one counts."""
    for flag, value in zip(flags, (*flags[1:], ""), strict=True):
        if flag == f"--{name}" or flag.startswith(f"--{name}="):
            default = flag.partition("=")[2] or value
    return default


def _check_has_gpus(flags: Sequence[str], options: SubmitOptions) -> None:
    if options.job_gpus or any(flag.startswith("--num_replicas") for flag in flags):
        return
    raise UserError(
        "--strategy=mirrored trains on the GPUs of the command itself, and this job is given none",
        asked=f"--strategy=mirrored --job_gpus={options.job_gpus:g}",
        change="--job_gpus before the --, to the GPUs of one machine; or --strategy=multi_worker_mirrored with "
        "--gpus_per_worker",
    )


def attach(options: AttachOptions) -> int:
    """Follows a job that was submitted before, from the beginning of its log, and returns its exit code."""
    return _followed(connected(options.address), options.job, options.address, options.patience_seconds)


def connected(address: str) -> Any:
    """A client of the job server at `address`.

    Raises:
      UserError: nobody listens there, it is no job server of this Ray's version, or the token is missing or wrong.
    """
    url = urlsplit(address)
    asked = f"--address={address} RAY_AUTH_MODE={os.environ.get('RAY_AUTH_MODE', '(not set)')}"
    try:
        _try_connection(url.hostname or "", url.port or (443 if url.scheme == "https" else 80))
    except OSError as error:
        raise UserError(
            "No job server can be reached at --address",
            asked=asked,
            found=str(error),
            change="run `ray dashboard CLUSTER.yaml` in another terminal, which forwards it to 127.0.0.1:8265",
        ) from None
    # Ray lets RAY_ADDRESS win over what it is handed.
    os.environ["RAY_API_SERVER_ADDRESS"] = address
    import requests
    from ray.exceptions import AuthenticationError
    from ray.job_submission import JobSubmissionClient

    # It warns of each folder, such as .git, that it rightly leaves out.
    logging.getLogger("ray").setLevel(logging.ERROR)

    # A proxy that the environment names would be asked for this machine's own address, and be told the token.
    direct = {"proxies": {"no_proxy": url.hostname}} if _is_here(url.hostname or "") else {}

    class Client(JobSubmissionClient):  # type: ignore[misc]
        def _do_request(self, *args: Any, data: bytes | None = None, **kwargs: Any) -> Any:
            # The job server hangs up in the middle of what is larger, which looks like a lost connection.
            if data is not None and len(data) > MOST_BYTES:
                raise ValueError(f"{len(data) >> 20} MiB when packed, which {_TOO_LARGE} of {MOST_BYTES >> 20} MiB")
            # Ray waits for ever where a link is cut without a word.
            seconds = _REQUEST_SECONDS + len(data or b"") / _SLOWEST_UPLOAD
            return super()._do_request(*args, data=data, **{"timeout": seconds, **direct, **kwargs})

    try:
        return Client(address)
    except AuthenticationError:
        raise UserError(
            "The cluster refuses this command: its token is missing or wrong",
            asked=asked,
            change="set RAY_AUTH_MODE=token, and have the token that the nodes were given in ~/.ray/auth_token, or in "
            "the file that RAY_AUTH_TOKEN_PATH names",
        ) from None
    except (ConnectionError, requests.ConnectionError, requests.Timeout) as error:
        raise InfrastructureError(
            "Something listens at --address, and the cluster behind it does not answer",
            asked=asked,
            found=one_line(error),
            change="see that Ray runs on the head (`ray exec CLUSTER.yaml 'ray status'`), then `ray dashboard` again",
        ) from None
    except Exception as error:  # what another server answers: an HTTP error, no JSON, no version
        raise UserError(
            "What answers at --address is not a job server of Ray",
            asked=asked,
            found=one_line(error),
            change="--address is the dashboard's, port 8265 unless it was changed",
        ) from None


def _is_here(host: str) -> bool:
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"


def _refused(options: SubmitOptions, error: Exception) -> UserError | InfrastructureError:
    said, found = str(error), one_line(error)
    if _TOO_LARGE in said:
        return UserError(
            "--working_dir is too large to be copied to the cluster",
            asked=f"--working_dir={options.working_dir}",
            found=found,
            change="name data and train_dir in its .gitignore, or give a folder that holds your code alone",
        )
    if "already exists" in said:
        return UserError(
            "--job is the id of another job of this cluster",
            asked=f"--job={options.job}",
            change="take another one, or leave --job out; where the connection was lost while it was submitted, it may "
            "be this one: python -m launch.submit attach",
        )
    if "No available agent" in said:
        return InfrastructureError(
            "The cluster's job agent is not running",
            asked=f"--address={options.address}",
            found=f"no job agent of Ray on the head for {_AGENT_SECONDS:g} s",
            change="see dashboard_agent.log in /tmp/ray/session_latest/logs there; most often its port was in use: "
            "--dashboard-agent-listen-port of `ray start`",
        )
    return InfrastructureError(
        "The cluster did not take the job",
        asked=f"--address={options.address}",
        found=" ".join(said.split())[-_MOST_SHOWN:],  # a traceback of the head's, whose cause stands at its end
    )


def _try_connection(host: str, port: int) -> None:
    """Raises OSError if nobody listens there; a tunnel to this machine may have been started a moment ago."""
    begun = time.monotonic()
    while True:
        try:
            return socket.create_connection((host, port), timeout=_CONNECT_SECONDS).close()
        except ConnectionRefusedError:
            if host not in ("127.0.0.1", "localhost") or time.monotonic() - begun > _TUNNEL_SECONDS:
                raise
            if time.monotonic() - begun < _RETRY_SECONDS:
                _tell(f"nobody listens at {host}:{port} yet; waiting {_TUNNEL_SECONDS:g} s for a tunnel that begins")
            time.sleep(_RETRY_SECONDS)


def _followed(client: Any, job: str, address: str, patience_seconds: float) -> int:
    how = _how_to_go_on(job, address)
    _tell(f"job {job}\n{how}")
    try:
        code = follow_job(client, job, patience_seconds=patience_seconds, write=_write, tell=_tell)
    except (KeyboardInterrupt, SystemExit):
        _tell(f"\nlet go of job {job}, which goes on\n{how}")
        raise
    _tell(f"job {job} {_ENDINGS.get(code, f'failed: its command ended with {code}')}")
    return code


def _how_to_go_on(job: str, address: str) -> str:
    again = f"python -m launch.submit attach --address={address} --job={job}"
    return f"  follow it again:  {again}\n  stop it:          ray job stop --address={address} {job}"


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
