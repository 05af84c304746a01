"""The file or folder that a submission goes to: a look at it before anything is begun, and what its disk says."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator

from estimators import storage
from estimators.errors import InfrastructureError, UserError


def check_target(target: str, *, flag: str, inputs: Iterable[str], folder: bool = False) -> None:
    """Refuses what cannot be written to.

    Args:
      target: the file, or the folder if `folder`.
      flag: the flag it came from.
      inputs: files that it must not replace.
      folder: a folder is wanted, which may be there or not.

    Raises:
      UserError: it is of the wrong kind, an input file, or in a folder that does not exist or cannot be written in.
    """
    path = target.rstrip("/") or "/"
    if storage.is_remote(path) and not path.partition("://")[2].partition("/")[2]:
        raise _unfit(target, flag, "it is a whole bucket", folder)
    above = path if folder and storage.is_dir(path) else os.path.dirname(path) or "."
    local = not storage.is_remote(path)
    found = ""
    if not folder and (storage.is_dir(path) or target.endswith("/")):
        found = "it is a folder"
    elif folder and storage.exists(path) and not storage.is_dir(path):
        found = "it is a file"
    elif local and os.path.exists(path) and not (os.path.isfile(path) or os.path.isdir(path)):
        found = "it is a device or a pipe, and the finished file would replace it"
    elif any(os.path.realpath(path) == os.path.realpath(one) for one in inputs):
        found = "it is one of the input files"
    elif local and not os.path.isdir(above):
        found = f"the folder {above} does not exist"
    elif local and not os.access(above, os.W_OK):
        found = f"no permission to write in {above}"
    if found:
        raise _unfit(target, flag, found, folder)


def _unfit(target: str, flag: str, found: str, folder: bool) -> UserError:
    return UserError(
        "The submission cannot be written",
        asked=f"--{flag}={target}",
        found=found,
        change=f"--{flag} to a {'folder' if folder else 'new file'} in a folder that exists and you may write in",
    )


@contextlib.contextmanager
def write_errors_told(target: str, *, flag: str) -> Iterator[None]:
    """Turns what the file system says, e.g. that the disk is full, into an error for people.

    Raises:
      UserError: an OSError came out of the block.
      InfrastructureError: one that says that the disk or the store failed.
    """
    try:
        yield
    except OSError as error:
        summary, asked = "The submission cannot be written; what was there before is as it was", f"--{flag}={target}"
        found = f"{error.strerror or error}" + (f": {error.filename}" if error.filename else "")
        if storage.has_failed(error):
            raise InfrastructureError(
                summary, asked=asked, found=found, change="look at that disk or store; then the same command again"
            ) from error
        raise UserError(
            summary, asked=asked, found=found, change=f"make room there, or give --{flag} another place"
        ) from error
