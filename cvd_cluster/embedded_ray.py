"""A Ray on this machine that lives as long as one run.

It keeps to itself: a loopback address, a token that nobody else knows, a temporary folder of its own, no dashboard, no
usage statistics, nothing on the console. No other Ray on the machine meets it, and nothing of it is left afterwards.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import psutil

from cvd_cluster.replaced_attributes import replaced_attributes
from cvd_cluster.sigterm import sigterm_kept
from estimators.errors import InfrastructureError, one_line
from estimators.processes.scratch_folder import make_scratch_folder

# Ray replaces 127.0.0.1 by the machine's outer address; this one it leaves alone.
NODE_ADDRESS = "127.0.0.2"
# Shared memory for the blocks in flight, of 31 MiB each: two of each predictor, and those of the readers. It is taken
# when it is used, and spilled to disk beyond.
_LEAST_OBJECT_STORE = 512 << 20
_BYTES_A_CPU = 80 << 20
# A Unix socket's path has at most 107 bytes, and Ray adds about 70 to its folder's.
_LONGEST_FOLDER = 36
_END_SECONDS = 10.0


def usable_cores() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0))


@contextlib.contextmanager
def started(*, cpus_needed: float, with_gpus: bool, announce: Callable[[str], None]) -> Iterator[None]:
    """Starts Ray on this machine, connects this process to it, and ends it, also after an error.

    Args:
      cpus_needed: Ray gets as many CPUs as this and as the machine has cores, whichever is more.
      with_gpus: False hides the machine's GPUs from Ray.
      announce: takes a line for the user.

    Raises:
      InfrastructureError: Ray does not start.
    """
    cores, asked = usable_cores(), math.ceil(cpus_needed)
    if asked > cores:
        announce(f"Ray on this machine: {asked} CPUs are asked for and it has {cores}, so they are shared")
    variables = {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
        "RAY_USAGE_STATS_ENABLED": "0",
        # What makes the raylet's log grow; see _let_agents_end_at_once. (-1, which Ray documents, has gcs_server print
        # without end.)
        "RAY_event_stats_print_interval_ms": "0",
        # Read when Ray is imported: a call that comes too late must fail, not start another Ray, open to everyone.
        "RAY_ENABLE_AUTO_CONNECT": "0",
    }
    with _temporary_folder() as folder, _environment(variables), sigterm_kept() as sigterm_unchanged:
        this = psutil.Process()
        others = set(this.children())
        try:
            with sigterm_unchanged():
                _start(max(cores, asked), with_gpus, folder)
            yield
        finally:
            _end_ray(this, others)


def _start(cpus: int, with_gpus: bool, folder: str) -> None:
    import ray

    try:
        with _fewer_processes():
            ray.init(
                address="local",
                num_cpus=cpus,
                num_gpus=None if with_gpus else 0,
                object_store_memory=max(_LEAST_OBJECT_STORE, min(cpus * _BYTES_A_CPU, _shared_memory() // 2)),
                include_dashboard=False,
                log_to_driver=False,
                logging_level=logging.ERROR,
                _node_ip_address=NODE_ADDRESS,
                _temp_dir=folder,
            )
        _let_agents_end_at_once()
    except Exception as error:  # whatever it is, the user's part of it is the same
        raise InfrastructureError(
            "Ray does not start on this machine",
            asked=f"{cpus} CPUs at {NODE_ADDRESS}",
            found=one_line(error),
            change="look for what is used up: memory, /dev/shm, space in /tmp, open files (ulimit -n), processes",
        ) from error


def _shared_memory() -> int:
    """Bytes that are free where Ray keeps objects."""
    with contextlib.suppress(OSError):
        return shutil.disk_usage("/dev/shm").free
    return 0


def _let_agents_end_at_once() -> None:
    """Keeps Ray's agents from living on for a minute after this process was killed.

    Raylet and control service end with it. An agent whose raylet did not say in the last MiB of its log that it was
    terminated tells the control service of that for up to 60 s, though there is none (ray/_private/process_watcher.py).
    """
    import ray

    private: Any = ray._private
    log = os.path.join(private.worker._global_node.get_logs_dir_path(), "raylet.out")
    with open(log, "a") as file:  # the raylet appends, too
        file.write("Raylet received SIGTERM: said ahead, for the agents\n")


@contextlib.contextmanager
def _fewer_processes() -> Iterator[None]:
    """Lets `ray.init` start without the processes that one run on one machine never asks anything.

    These are the dashboard's (it runs even with `include_dashboard=False`, and start and end wait for it), the
    autoscaler's and the log monitor's; and the agent keeps its HTTP server shut, which a second Ray at the same address
    would lose seconds over. Ray has settings for none of them. Without them start and end take half the time. The
    price: `ray.util.state` does not answer.
    """
    import ray

    private: Any = ray._private
    node = private.node.Node
    with replaced_attributes(
        [
            (node, "start_api_server", lambda self, **options: None),
            (node, "start_monitor", lambda self: None),
            (node, "start_log_monitor", lambda self: None),
            (private.utils, "get_dashboard_dependency_error", lambda: ImportError("left out on purpose")),
        ]
    ):
        yield


@contextlib.contextmanager
def _temporary_folder() -> Iterator[str]:
    folder = make_scratch_folder("ray")
    if len(folder) > _LONGEST_FOLDER:
        shutil.rmtree(folder)
        folder = make_scratch_folder("ray", parent="/tmp")
    try:
        # One level down: Ray lets everyone on the machine into the folder it is given, with its sockets and logs.
        yield os.path.join(folder, "r")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        _reread_authentication()
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        _reread_authentication()


def _reread_authentication() -> None:
    # Ray's C++ part reads mode and token once, when it is loaded; a process may have loaded it, or have had another
    # session, before. In this order, as Ray's own tests do it: a thread that still ends must not miss the token.
    import ray

    raylet: Any = ray._raylet
    raylet.Config.initialize("")
    raylet.AuthenticationTokenLoader.instance().reset_cache()


def _end_ray(this: psutil.Process, others: set[psutil.Process]) -> None:
    """Ends Ray and all processes below it; `others` are the children of `this` that are not Ray's."""
    import ray

    roots = [child for child in this.children() if child not in others]
    if not ray.is_initialized():
        # Its start was cut off: nobody tells the processes to end, and one may be starting the next.
        _kill([process for root in roots for process in _halted(root)])
        ray.shutdown()
        return
    family = roots + [process for root in roots for process in _descendants(root)]
    try:
        ray.shutdown()
    finally:
        _, alive = psutil.wait_procs(family, timeout=_END_SECONDS)
        _kill(alive)


def _kill(processes: list[psutil.Process]) -> None:
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(processes, timeout=_END_SECONDS)


def _descendants(process: psutil.Process) -> list[psutil.Process]:
    try:
        return list(process.children(recursive=True))
    except psutil.NoSuchProcess:
        return []


def _halted(process: psutil.Process) -> list[psutil.Process]:
    """A process and all below it, each stopped before its children are listed."""
    try:
        process.suspend()
        return [process] + [below for child in process.children() for below in _halted(child)]
    except psutil.NoSuchProcess:
        return []
