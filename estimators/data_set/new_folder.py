"""A folder that appears under its name whole or not at all.

A local one is written beside its place and renamed. A bucket has no folders to rename: there the files are written in
their place, one by one, under the sign of an object `.incomplete`, which goes last. Whoever reads a data set asks for
that object first (`check_complete`).
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator

from estimators import storage
from estimators.errors import DataError, UserError, first_of
from estimators.storage.access import check_access

_INCOMPLETE = ".incomplete"


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
      UserError: it is a file, a folder that is not empty, or in a bucket that cannot be written.
    """
    check_access(folders={"output": path})
    names = storage.list_dir(path)
    if _INCOMPLETE in names:
        raise _refuse(path, "it holds a part of a data set: its conversion is still at work, or was cut off")
    if names:
        raise _refuse(path, f"it exists and holds {len(names)} names: {first_of(names)}")
    if storage.exists(path) and not storage.is_dir(path):
        raise _refuse(path, "it is a file")


@contextlib.contextmanager
def new_folder(path: str) -> Iterator[str]:
    """Yields a folder to write into, whose content is at `path` when the block ends without an error.

    With an error it is deleted, and nothing is at `path`.

    Raises:
      UserError: `path` is taken, or cannot be written.
    """
    path = path.rstrip("/") or path
    check_is_new(path)
    if storage.is_remote(path):
        with _under_a_sign(path):
            yield path
        return
    staging = storage.hidden_partial(path)
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


@contextlib.contextmanager
def _under_a_sign(path: str) -> Iterator[None]:
    sign = os.path.join(path, _INCOMPLETE)
    if not storage.create_text(sign, ""):
        raise _refuse(path, "another conversion has begun there")
    try:
        yield
    except BaseException:
        for name in storage.list_dir(path):
            if name != _INCOMPLETE:
                storage.delete(os.path.join(path, name))
        storage.delete(sign)
        raise
    storage.delete(sign)


def check_complete(paths: Iterable[str], *, flag: str) -> None:
    """Refuses files of a data set in a bucket that is not all there.

    Args:
      paths: of its shards.
      flag: the flag they came from, for the message.

    Raises:
      DataError: its conversion is still at work, or was cut off.
    """
    for folder in sorted({os.path.dirname(os.path.dirname(path)) for path in paths if storage.is_remote(path)}):
        if storage.exists(os.path.join(folder, _INCOMPLETE)):
            raise DataError(
                f"The data set of --{flag} is not complete",
                asked=f"--{flag} in {folder}",
                found=f"{_INCOMPLETE}: the conversion that writes it is still at work, or was cut off",
                change="wait for it; or delete the folder and give launch.prepare_data its command again",
            )


def _publish(staging: str, path: str) -> None:
    try:
        storage.rename(staging, path)
    except OSError as error:  # somebody else filled it meanwhile
        raise _refuse(path, str(error)) from error
