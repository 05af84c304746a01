"""The end of a command whose Ray is gone, for those that hand their work to Ray and wait for it."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Iterator

import psutil

from cvd_cluster.ray_session import RaySession, control_service_answers
from estimators.errors import InfrastructureError

_LOOK_SECS = 1.0
# So long a service that is busy may not answer.
_UNSERVED_SECS = 10.0


@contextlib.contextmanager
def lost_ray_ends(session: RaySession, *, change: str) -> Iterator[None]:
    """Ends this process with a message, and the exit code of an InfrastructureError, if Ray is gone within the block.

    Every call of Ray's waits for a control service that is gone, and some time later Ray ends the process, with lines
    that are of its own matters. So no exception would get through: the end is that of a kill, after which the kernel
    ends what is left of a Ray that was started here.

    Args:
      session: the Ray.
      change: what the message says is to be done.
    """
    children = psutil.Process().children() if session.started_here else []
    raylets = [child for child in children if child.name() == "raylet"]
    over = threading.Event()
    watch = threading.Thread(target=_watch, args=(raylets, over, change), name="lost_ray", daemon=True)
    watch.start()
    try:
        yield
    finally:
        over.set()
        watch.join()


def _watch(raylets: list[psutil.Process], over: threading.Event, change: str) -> None:
    silent = 0.0
    while not over.wait(_LOOK_SECS):
        silent = 0.0 if control_service_answers() else silent + _LOOK_SECS
        if silent >= _UNSERVED_SECS:
            _end(f"nothing to connect to at the address of its control service for {silent:g} s", change)
        if any(_has_ended(raylet) for raylet in raylets):
            _end("its raylet died", change)


def _has_ended(process: psutil.Process) -> bool:
    try:
        return bool(process.status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


def _end(found: str, change: str) -> None:
    error = InfrastructureError(
        "Ray is gone, so this ends here",
        found=f"{found}; it was killed (by the kernel if memory ran out), or its node is gone",
        change=change,
    )
    sys.stdout.flush()
    print(f"error: {error}", file=sys.stderr, flush=True)
    os._exit(error.exit_code)
