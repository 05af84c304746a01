"""Temporary folders that do not pile up: what a killed process left is deleted when later ones make their own.

Each names its process, in a file `owner.json`. A process may have children that outlive it for some seconds, to save a
checkpoint; so a folder is marked as abandoned first, and deleted by a start that comes later.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict

from estimators.errors import UserError
from estimators.processes.process_identity import ProcessIdentity, this_process

_PREFIX = "cvd-"
_OWNER, _MARK = "owner.json", "abandoned"
_GRACE_SECS = 60.0


def make_scratch_folder(name: str, *, parent: str | None = None) -> str:
    """A new folder `cvd-<name>-…` of this process, which should delete it; only this user can look into it.

    Args:
      name: what it is for.
      parent: where; None is the system's folder for temporary files.

    Raises:
      UserError: it cannot be made.
    """
    with scratch_errors_told(parent or "the folder for temporary files"):
        parent = parent or tempfile.gettempdir()
        _delete_abandoned(parent)
        folder = tempfile.mkdtemp(prefix=f"{_PREFIX}{name}-", dir=parent)
        with open(os.path.join(folder, _OWNER), "w", encoding="utf-8") as file:
            json.dump(asdict(this_process()), file)
        return folder


@contextlib.contextmanager
def scratch_folder(name: str) -> Iterator[str]:
    """A folder as `make_scratch_folder` makes it, deleted at the end."""
    folder = make_scratch_folder(name)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def scratch_errors_told(path: str) -> Iterator[None]:
    """For writing in such a folder.

    Raises:
      UserError: an OSError came out of the block.
    """
    try:
        yield
    except OSError as error:
        raise UserError(
            "A temporary file cannot be written",
            found=f"{error.strerror or error}: {path}",
            change="make room there, or set the environment variable TMPDIR to a folder on another disk",
        ) from error


def _delete_abandoned(parent: str) -> None:
    with contextlib.suppress(OSError):
        for entry in os.scandir(parent):
            if entry.name.startswith(_PREFIX) and entry.is_dir(follow_symlinks=False) and _is_abandoned(entry.path):
                _mark_or_delete(entry.path)


def _mark_or_delete(folder: str) -> None:
    mark = os.path.join(folder, _MARK)
    if not os.path.exists(mark):
        open(mark, "x").close()
    elif time.time() - os.path.getmtime(mark) > _GRACE_SECS:
        shutil.rmtree(folder, ignore_errors=True)


def _is_abandoned(folder: str) -> bool:
    """True if its process is known to be gone."""
    try:
        with open(os.path.join(folder, _OWNER), encoding="utf-8") as file:
            return ProcessIdentity(**json.load(file)).is_gone is True
    except (OSError, ValueError, TypeError):  # another's, or one that is being made
        return False
