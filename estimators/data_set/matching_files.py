"""Which files a flag means."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from estimators import storage
from estimators.data_set.new_folder import check_complete
from estimators.errors import InfrastructureError, UserError


def matching_files(pattern: str, *, flag: str) -> list[str]:
    """The files that match the pattern of a flag.

    Raises:
      UserError: there is none, or none for one of several patterns, or a folder cannot be listed; DataError: they are
        of a data set that is not complete.
    """
    with unlisted_told(pattern, flag=flag):
        return _matching_files(pattern, flag)


@contextlib.contextmanager
def unlisted_told(pattern: str, *, flag: str) -> Iterator[None]:
    """Around the look for what matches a pattern: files that nobody could list would be missing without a word.

    Raises:
      UserError: a folder cannot be listed; InfrastructureError: since its disk or store fails.
    """
    try:
        yield
    except OSError as error:
        failed = storage.has_failed(error)
        raise (InfrastructureError if failed else UserError)(
            f"What matches --{flag} cannot be listed",
            asked=f"--{flag}={pattern}",
            found=f"{error.filename or pattern}: {error.strerror or error}",
            change="the same command, when its disk or store answers again"
            if failed
            else f"--{flag}, or the folder's permissions",
        ) from None


def _matching_files(pattern: str, flag: str) -> list[str]:
    paths = storage.glob(pattern)
    parts = storage.patterns_in(pattern)
    if len(parts) > 1 and paths:
        for part in parts:
            if not storage.glob(part):
                raise UserError(
                    f"A part of --{flag} matches no file",
                    asked=f"--{flag}={pattern}",
                    found=f"nothing for {part}: {storage.nearest_names(part)}",
                    change=f"--{flag}",
                )
    if not paths and storage.is_dir(pattern):
        raise UserError(
            f"--{flag} is a folder",
            asked=f"--{flag}={pattern}",
            found=f"it holds {', '.join(storage.list_dir(pattern)[:3]) or 'nothing'}",
            change=f"--{flag}='{pattern.rstrip('/')}/*', in quotes, if the files in it are the data",
        )
    if not paths:
        raise UserError(
            f"No file matches --{flag}",
            asked=f"--{flag}={pattern}",
            found=storage.nearest_names(pattern),
            change=f"--{flag}; put it in quotes so that the shell does not expand it",
        )
    for path in paths:
        # A pipe would be waited on for ever, and can be read once.
        if not storage.is_remote(path) and os.path.exists(path) and not os.path.isfile(path):
            raise UserError(
                f"A file of --{flag} is a pipe, a socket or a device",
                asked=f"--{flag}={pattern}",
                found=path,
                change=f"--{flag} to files that can be read several times",
            )
    check_complete(paths, flag=flag)
    return paths
