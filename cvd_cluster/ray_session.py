"""The Ray that a command runs on: the cluster it was started in, or one on this machine for as long as it runs.

    with ray_session(cpus_needed=3, announce=print) as session:
        ...  # Ray is connected; session.started_here says whose it is

A cluster is joined where RAY_ADDRESS names one, inside a Ray job (`ray job submit`), or where this process is connected
already; it is left as it was found. Otherwise Ray is started on this machine, for this run only (embedded_ray.py).
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from cvd_cluster import embedded_ray, joined_ray
from estimators import storage
from estimators.errors import UserError

# Set by Ray's job manager for the command of a job, and by nobody else.
_JOB_VARIABLE = "RAY_JOB_CONFIG_JSON_ENV_VAR"
_CONNECT_SECS = 2.0


@dataclass(frozen=True)
class RaySession:
    """The Ray that this process is connected to.

    Attributes:
      started_here: True if this run started it and ends it; False for a cluster that was joined.
      address: host:port of Ray's control service (GCS).
    """

    started_here: bool
    address: str


def in_ray_job() -> bool:
    """True if this process is the command of a `ray job submit`."""
    return _JOB_VARIABLE in os.environ


def require_absolute_paths(flags: Mapping[str, str | None]) -> None:
    """Refuses relative paths inside a Ray job, whose working directory is an unpacked copy that Ray deletes later.

    Args:
      flags: a flag's name without dashes -> its path or pattern (commas separate several); None is skipped.

    Raises:
      UserError: this is a Ray job and a path is relative.
    """
    if not in_ray_job():
        return
    for name, value in flags.items():
        for path in filter(None, (piece.strip() for piece in (value or "").split(","))):
            if not (storage.is_remote(path) or os.path.isabs(os.path.expanduser(path))):
                raise UserError(
                    f"A relative path in a Ray job: --{name}",
                    asked=f"--{name}={value}",
                    found=f"in this job it means {os.path.abspath(path)}, inside a copy of your folder that Ray made "
                    "for this job and deletes",
                    change=f"give --{name} an absolute path that every node of the cluster can reach",
                )


def starts_ray_here() -> bool:
    """True if `ray_session` will start a Ray on this machine, False if it will join one."""
    return not (_is_connected() or in_ray_job()) and _address_of_cluster() is None


def _address_of_cluster() -> str | None:
    address = os.environ.get("RAY_ADDRESS", "").strip()
    return None if address in ("", "local") else address


@contextlib.contextmanager
def ray_session(*, cpus_needed: float, gpus_needed: float = 0, announce: Callable[[str], None]) -> Iterator[RaySession]:
    """Connects this process to Ray, and disconnects it at the end.

    Args:
      cpus_needed: how many of Ray's CPUs the run will hold at the same time. A Ray that is started here gets that many,
        even if the machine has fewer cores; a joined one is taken as it is.
      gpus_needed: the same for GPUs; 0 hides this machine's GPUs from a Ray that is started here.
      announce: takes a line for the user.

    Raises:
      UserError: RAY_ADDRESS names no cluster, or one that cannot be reached or that wants another token.
      InfrastructureError: Ray does not start on this machine.
    """
    if _is_connected():
        yield RaySession(started_here=False, address=_gcs_address())
    elif not starts_ray_here():
        with joined_ray.joined(_address_of_cluster() or "auto"):
            yield RaySession(started_here=False, address=_gcs_address())
    else:
        with embedded_ray.started(cpus_needed=cpus_needed, with_gpus=gpus_needed > 0, announce=announce):
            yield RaySession(started_here=True, address=_gcs_address())


def control_service_answers() -> bool:
    """Whether the control service (GCS) of this process's Ray can be connected to.

    No call of Ray's tells: each waits for it, and after a minute Ray ends the process.
    """
    host, _, port = _gcs_address().rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), _CONNECT_SECS).close()
    except OSError:
        return False
    return True


def _is_connected() -> bool:
    # To ask must not cost a process that has not imported Ray yet the import.
    return "ray" in sys.modules and bool(sys.modules["ray"].is_initialized())


def _gcs_address() -> str:
    import ray

    return str(ray.get_runtime_context().gcs_address)
