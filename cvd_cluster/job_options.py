"""What a person chooses about a job on a cluster that is up."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from estimators.errors import UserError
from estimators.options import Options, option

_GROUP = "job"


@dataclass(frozen=True, kw_only=True)
class _JobServerOptions(Options):
    address: str = option(
        group=_GROUP,
        help="URL of the cluster's job server: http://127.0.0.1:8265 while `ray dashboard cluster.yaml` forwards it",
    )
    patience_seconds: float = option(
        600.0, group=_GROUP, above=0, help="seconds that the connection may be lost before this command gives up"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        require_job_server(self.address)


@dataclass(frozen=True, kw_only=True)
class AttachOptions(_JobServerOptions):
    """Which job to follow, and where it runs."""

    job: str = option(group=_GROUP, help="the id that was printed when the job was submitted")

    def __post_init__(self) -> None:
        super().__post_init__()
        _require_job_id(self.job)


@dataclass(frozen=True, kw_only=True)
class SubmitOptions(_JobServerOptions):
    """Where a command runs as a job, and with which files."""

    job: str | None = option(None, group=_GROUP, help="an id of your choice; without it one is made, as train-1a2b3c4d")
    working_dir: str = option(
        ".",
        group=_GROUP,
        help="the folder with your model, copied to the cluster, at most 100 MiB when packed; what its .gitignore "
        "names stays here",
    )
    job_cpus: float | None = option(
        None,
        group=_GROUP,
        at_least=0,
        help="CPUs reserved for the command itself; 0 runs it on the head; none: 1 for commands that compute in their "
        "own process (prepare_data, eval and train without workers), else 0",
    )
    job_gpus: float = option(
        0.0,
        group=_GROUP,
        at_least=0,
        help="GPUs reserved for the command itself: for a one-process eval, or train with --strategy=local or mirrored",
    )
    stop_wait_seconds: int = option(
        120, group=_GROUP, at_least=1, help="seconds that a job that is stopped may take for its last checkpoint"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.job is not None:
            _require_job_id(self.job)


def _require_job_id(job: str) -> None:
    # Ray makes a file and a URL of it, and a job that it cannot make one for stays in its list for good.
    if not re.fullmatch(r"[A-Za-z0-9_.-]+", job) or not job.strip("."):
        raise UserError(
            "--job is not the id of a job",
            asked=f"--job={job}",
            change="--job to letters, digits, and the signs _ . -, not dots alone",
        )


def require_job_server(address: str) -> None:
    """Raises UserError unless `address` is the URL of an HTTP server."""
    try:
        url = urlsplit(address)
        sound = url.scheme in ("http", "https") and bool(url.hostname) and (url.port is None or url.port > 0)
    except ValueError:  # a port that is no number
        sound = False
    if not sound:
        raise UserError(
            "--address is not the URL of a job server",
            asked=f"--address={address}",
            change="--address=http://127.0.0.1:8265, while `ray dashboard cluster.yaml` runs in another terminal",
        )
