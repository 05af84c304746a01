"""A Ray cluster that others started, joined for as long as one run; see embedded_ray.py for the other kind."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import sys
from collections.abc import Iterator

from cvd_cluster.sigterm import sigterm_kept
from estimators.errors import UserError

_MOST_SHOWN = 300
_CONNECT_SECONDS = 5.0


@contextlib.contextmanager
def joined(address: str) -> Iterator[None]:
    """Connects this process to a cluster, and disconnects it at the end; the cluster goes on.

    Args:
      address: host:port, or "auto" for the one that runs on this machine.

    Raises:
      UserError: nobody listens there, or the token is missing or wrong.
    """
    os.environ.setdefault("RAY_ENABLE_AUTO_CONNECT", "0")  # see embedded_ray
    import ray

    with sigterm_kept() as sigterm_unchanged:
        try:
            _check_reachable(address)
            with _hurried(), _stderr_dropped(), sigterm_unchanged():
                ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
        except Exception as error:  # Ray raises ConnectionError, RuntimeError, ValueError and errors of its own here
            raise _cannot_join(address, error) from None
        try:
            yield
        finally:
            ray.shutdown()


def _check_reachable(address: str) -> None:
    """Raises an exception where nobody listens; there Ray itself would go on trying for a quarter of an hour."""
    from ray._private import services

    if "://" in address:
        raise ValueError(f"{address} is a URL")
    host, _, port = str(services.canonicalize_bootstrap_address(address) or "").rpartition(":")
    if not host:
        raise ConnectionError("no Ray runs on this machine")
    socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT_SECONDS).close()


@contextlib.contextmanager
def _hurried() -> Iterator[None]:
    # Ray tries 20 times with a second between, also where the token is wrong and no try can help.
    name = "RAY_gcs_server_port_wait_time_s"
    before = os.environ.get(name)
    os.environ[name] = before or "2"
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]


@contextlib.contextmanager
def _stderr_dropped() -> Iterator[None]:
    # Until it has a session's log file, Ray's C++ part writes each failed try to file descriptor 2.
    sys.stderr.flush()
    kept = os.dup(2)
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        sys.stderr.flush()
        os.dup2(kept, 2)
        os.close(kept)


def _cannot_join(address: str, error: Exception) -> UserError:
    asked = f"RAY_ADDRESS={address} RAY_AUTH_MODE={os.environ.get('RAY_AUTH_MODE', '(not set)')}"
    causes = [" ".join(str(cause).split()) for cause in (error, error.__cause__) if cause is not None]
    if any("uthentication" in cause for cause in causes):
        return UserError(
            "The Ray cluster refuses this process: its token is missing or wrong",
            asked=asked,
            change="set RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH to the cluster's token (on the "
            "machine of `ray start` it is in ~/.ray/auth_token)",
        )
    return UserError(
        "The Ray cluster cannot be reached",
        asked=asked,
        found=causes[0][:_MOST_SHOWN],
        change="set RAY_ADDRESS to the host:port that `ray start --head` printed, or unset it to start Ray on this "
        "machine",
    )
