"""Which files a flag means."""

from __future__ import annotations

import os

from estimators import storage
from estimators.data_set.new_folder import check_complete
from estimators.errors import UserError


def matching_files(pattern: str, *, flag: str) -> list[str]:
    """The files that match the pattern of a flag.

    Raises:
      UserError: there is none, or none for one of several patterns; DataError: they are of a data set that is not
        complete.
    """
    paths = storage.glob(pattern)
    parts = [part.strip() for part in pattern.split(",") if part.strip()]
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
