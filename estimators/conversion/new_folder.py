"""A folder that appears under its name whole or not at all."""

from __future__ import annotations

import contextlib
import os
import uuid
from collections.abc import Iterator

from estimators import storage
from estimators.errors import UserError


def _refuse(path: str, found: str) -> UserError:
    return UserError(
        "The output folder cannot be written",
        asked=f"--output={path}",
        found=found,
        change="--output must name a folder that does not exist yet or is empty",
    )


def check_is_new(path: str) -> None:
    """Makes sure that `path` can become a new folder.

    Raises:
      UserError: it is a file, or a folder that is not empty.
    """
    names = storage.list_dir(path)
    if names:
        shown = ", ".join(names[:3]) + (", …" if len(names) > 3 else "")
        raise _refuse(path, f"it exists and holds {len(names)} names: {shown}")
    if storage.exists(path) and not storage.is_dir(path):
        raise _refuse(path, "it is a file")


@contextlib.contextmanager
def new_folder(path: str) -> Iterator[str]:
    """Yields a hidden neighbour of `path` to write into, which becomes `path` when the block ends without an error.

    With an error the neighbour is deleted, and nothing is at `path`.

    Raises:
      UserError: `path` is taken, or cannot be written.
    """
    path = path.rstrip("/") or path
    check_is_new(path)
    parent, name = os.path.split(path)
    staging = os.path.join(parent, f".{name}.{uuid.uuid4().hex[:8]}.partial")
    try:
        storage.make_dirs(staging)
    except OSError as error:
        raise _refuse(path, str(error)) from error
    try:
        yield staging
        _publish(staging, path)
    except BaseException:
        storage.delete(staging)
        raise


def _publish(staging: str, path: str) -> None:
    try:
        storage.rename(staging, path)
    except OSError as error:  # somebody else filled it meanwhile
        raise _refuse(path, str(error)) from error
