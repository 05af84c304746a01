"""Whether the nodes of a cluster are like this machine: their versions, and the files that they are to read.

Runs on the nodes too, so without TensorFlow.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import platform
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from estimators import storage
from estimators.errors import InfrastructureError, UserError, one_line

_LOOK_SECS = 60.0
_WAIT_SECS = 1.0
_MOST_SHOWN = 3
# On Google Cloud `ray up` gives the head an account that it made, and the workers that of `serviceAccounts`.
BUCKET_RIGHTS = (
    "give that machine's account (serviceAccounts in cluster.yaml) the right to read and write the bucket's objects"
)

_Answer = TypeVar("_Answer")


@dataclass(frozen=True)
class NodeView:
    """What a node said of itself.

    Attributes:
      host: its name.
      versions: package -> version, "Python" among them.
      unreadable: path -> why it cannot be read there.
    """

    host: str
    versions: Mapping[str, str]
    unreadable: Mapping[str, str]


def view_of(paths: Sequence[str]) -> NodeView:
    """Of the machine where it is called."""
    return NodeView(socket.gethostname(), _versions(), dict(_unreadable(paths)))


def look_from(nodes: Sequence[str], paths: Sequence[str], *, asked: str, what: str) -> None:
    """Has nodes report on which processes will be started that only read.

    Args:
      nodes: Ray's ids of them.
      paths: files that they read.
      asked: the flags that the files come from, with their values.
      what: the same in a word, e.g. "the data".

    Raises:
      UserError: a node has other versions than this machine, or cannot read a file.
      InfrastructureError: a node does not answer.
    """
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    places = {node: NodeAffinitySchedulingStrategy(node, soft=False) for node in dict.fromkeys(nodes)}
    for view in on_nodes(view_of, {node: (tuple(paths),) for node in places}, places, names=list(places)).values():
        check_view(view, asked=asked, what=what)


def on_nodes(
    function: Callable[..., _Answer],
    arguments: Mapping[str, tuple[Any, ...]],
    places: Mapping[str, Any],
    *,
    names: Sequence[str],
    pause: Callable[[], object] = lambda: None,
) -> dict[str, _Answer]:
    """What a function says on each of some nodes.

    Args:
      function: one that the nodes can import.
      arguments: for each node.
      places: for each node, Ray's scheduling strategy that leads there.
      names: of the nodes or of what is to run there, for the message.
      pause: called each second while they take their time; what it raises ends the look.

    Raises:
      InfrastructureError: a node does not answer.
    """
    import ray

    look = ray.remote(num_cpus=0, max_retries=0)(function)
    calls = {node: look.options(scheduling_strategy=places[node]).remote(*args) for node, args in arguments.items()}
    until = time.monotonic() + _LOOK_SECS
    try:
        while len(ray.wait(list(calls.values()), num_returns=len(calls), timeout=_WAIT_SECS)[0]) < len(calls):
            if time.monotonic() > until:
                break
            pause()
        return dict(zip(calls, ray.get(list(calls.values()), timeout=0), strict=True))
    except ray.exceptions.GetTimeoutError:
        raise InfrastructureError(
            "A node of the cluster does not answer",
            asked=", ".join(names),
            found=f"no answer within {_LOOK_SECS:g} s",
            change="look whether that machine is overloaded, or can reach neither the file system nor the bucket that "
            "the flags name; its Ray logs are in /tmp/ray/session_latest/logs there",
        ) from None
    except ray.exceptions.RayError as error:
        raise InfrastructureError(
            "A node of the cluster cannot be looked at",
            asked=", ".join(names),
            found=(str(error).strip() or type(error).__name__).splitlines()[-1],
            change="is this project installed there, as it is here? See also the logs of Ray on that node",
        ) from error


def check_view(view: NodeView, *, asked: str, what: str) -> None:
    """Raises UserError where a node is not like this machine; arguments as those of `look_from`."""
    here = _versions()
    different = [name for name in sorted({*here, *view.versions}) if here.get(name) != view.versions.get(name)]
    if different:
        raise UserError(
            f"{view.host} has other versions than this machine",
            asked=", ".join(f"{name} {here.get(name, 'not installed')}" for name in different),
            found=", ".join(f"{name} {view.versions.get(name, 'not installed')}" for name in different),
            change="install the same on all nodes (constraints.txt), and give their `ray start` that environment",
        )
    if view.unreadable:
        first = [f"{path}: {reason}" for path, reason in view.unreadable.items()][:_MOST_SHOWN]
        raise UserError(
            f"{view.host} cannot read {what}",
            asked=asked,
            found=f"{len(view.unreadable)} files, {'; '.join(first)}",
            change=_rights(list(view.unreadable)),
        )


def _rights(paths: Sequence[str]) -> str:
    if any(path.startswith("gs://") for path in paths):
        return BUCKET_RIGHTS
    if remote := [path for path in paths if storage.is_remote(path)]:
        return f"give that machine credentials for {remote[0].partition('://')[0]}://, as this one has them"
    return "paths that every node reaches: a network file system at the same place, or gs://"


def _versions() -> dict[str, str]:
    """Without an import, which would take TensorFlow seconds."""
    # A cloud's later machines may have a later 3.11; what one pickles another reads.
    versions = {"Python": ".".join(platform.python_version_tuple()[:2])}
    for package in ("ray", "tensorflow", "tensorflow-cpu", "numpy", "pyarrow"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[package.removesuffix("-cpu")] = importlib.metadata.version(package)
    return {**versions, "this project's sources": _digest_of_sources()}


def _digest_of_sources() -> str:
    """Of two checkouts one version number tells nothing."""
    root = Path(__file__).parents[1]
    digest = hashlib.sha256()
    for package in ("estimators", Path(__file__).parent.name):
        for path in sorted((root / package).rglob("*.py")):
            digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:12]


def _unreadable(paths: Sequence[str]) -> Iterator[tuple[str, str]]:
    # Of a bucket, which is the same from everywhere, one file tells enough.
    first_of = {"/".join(path.split("/")[:3]): path for path in reversed(paths) if storage.is_remote(path)}
    for path in [*(path for path in paths if not storage.is_remote(path)), *first_of.values()]:
        try:
            with storage.open_binary(path) as file:
                file.read(1)
        except Exception as error:
            yield path, getattr(error, "strerror", None) or one_line(error)
