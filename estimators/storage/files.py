"""The functions that the project reads and writes files with, wherever a path lies.

A command can check its input without the seconds that `import tensorflow` takes: nothing here imports it, and Google's
client is imported when the first `gs://` is met.

Every function raises OSError, for a bucket too: FileNotFoundError, PermissionError, or another with errno set.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable, Iterator
from typing import IO

from estimators.errors import first_of
from estimators.storage.arrow_files import ArrowFiles
from estimators.storage.bucket import BucketFiles
from estimators.storage.local_files import LocalFiles
from estimators.storage.name_patterns import patterns_in

_LOCAL, _BUCKETS, _OTHERS = LocalFiles(), BucketFiles(), ArrowFiles()


def is_remote(path: str) -> bool:
    """True for `scheme://…`."""
    return "://" in path


def absolute(path: str) -> str:
    """A path that means the same in a process with another working directory."""
    return path if is_remote(path) else os.path.abspath(path)


def is_inside(path: str, folder: str) -> bool:
    """True if `path` is `folder` or lies below it, links resolved."""
    if not is_remote(path):
        path, folder = os.path.realpath(path), os.path.realpath(folder)
    return f"{path}/".startswith(f"{folder.rstrip('/')}/")


def _of(path: str) -> LocalFiles | BucketFiles:
    return _BUCKETS if is_remote(path) else _LOCAL


def _reader_of(path: str) -> LocalFiles | BucketFiles | ArrowFiles:
    return _OTHERS if is_remote(path) and not path.startswith("gs://") else _of(path)


def glob(pattern: str) -> list[str]:
    """The files (not folders) that match `pattern`, sorted. Commas separate several patterns."""
    return sorted({path for part in patterns_in(pattern) for path in _reader_of(part).glob(part)})


def matching_folders(pattern: str) -> list[str]:
    """The local folders that match `pattern`, sorted: what `glob` leaves out. In a bucket there are none."""
    local = (part for part in patterns_in(pattern) if not is_remote(part))
    return sorted({path for part in local for path in _LOCAL.matching_folders(part)})


def exists(path: str) -> bool:
    """True if `path` is a file or a folder."""
    return _reader_of(path).exists(path)


def is_dir(path: str) -> bool:
    """True if `path` is a folder; in a bucket that is where something lies below."""
    return _reader_of(path).is_dir(path)


def list_dir(path: str) -> list[str]:
    """The names in folder `path`, sorted, without slashes; [] if there is no such folder."""
    return sorted(_reader_of(path).names_in(path))


def names_below(folder: str) -> list[str]:
    """All that lies in `folder` and in the folders below it: relative names, sorted, those of folders with a final `/`.

    Links are followed, but no folder is entered twice.
    """
    return sorted(_of(folder).names_below(folder))


def size(path: str) -> int:
    """Bytes in the file `path`."""
    return _reader_of(path).size(path)


def modified_ns(path: str) -> int:
    """When the file `path` was written last, in nanoseconds of its file system's clock."""
    return _reader_of(path).modified_ns(path)


def identity(path: str) -> str:
    """A text that changes whenever the file `path` is written again, even with the same size and its old time set.

    On a local disk also when it is renamed; nobody can set the time of the last change of its inode.
    """
    return _reader_of(path).identity(path)


def open_binary(path: str) -> IO[bytes]:
    """Opens `path` for reading bytes; the result can `read`, `seek` and `tell`."""
    return _reader_of(path).open_binary(path)


def read_text(path: str) -> str:
    """The UTF-8 text in the file `path`, of one moment also where others replace it."""
    return _reader_of(path).read_bytes(path).decode("utf-8")


def make_dirs(path: str) -> None:
    """Makes the folder `path` and its parents, if they are missing; a bucket has none to make."""
    _of(path).make_dirs(path)


def rename(source: str, target: str) -> None:
    """Moves a file onto `target`, replacing it whole. In a bucket it is copied first, so that it is never missing."""
    _of(source).rename(source, target)


def publish_folder(source: str, target: str, *, last: str) -> None:
    """Has a finished local folder appear at `target`, which has not been published yet.

    On a local disk it is moved there in one step, and must lie on the same disk. A bucket has no such step: there
    nothing is published before the file `last` is there, which whoever reads the folder has to look for.

    Args:
      source: the folder; it is gone afterwards where it was moved.
      target: where to.
      last: the name of a file in it.
    """
    _of(target).publish_folder(source, target, last)


def delete(path: str) -> None:
    """Deletes a file, or a folder with all that is in it; nothing if it is not there."""
    _of(path).delete(path)


Ready = Callable[[], object]


def has_failed(error: OSError) -> bool:
    """True if it is the disk or the store that failed, and not what was asked of it."""
    return error.errno in (errno.EIO, errno.ENOTCONN, errno.ETIMEDOUT)


def nothing_more() -> None:
    """Does nothing; the default of `ready`."""


@contextlib.contextmanager
def written_whole(path: str, *, ready: Ready = nothing_more) -> Iterator[IO[bytes]]:
    """Writes a file that appears under its name whole or not at all; an older one stays until then.

    Args:
      path: of the file.
      ready: called when all is written (in a bucket: gathered here), before it appears; if it raises, it does not.
    """
    with _of(path).written_whole(path, ready) as file:
        yield file


def write_text(path: str, text: str) -> None:
    """Writes a small UTF-8 file, whole or not at all."""
    with written_whole(path) as file:
        file.write(text.encode("utf-8"))


def append_line(path: str, line: str) -> None:
    """Appends one line to a text file, so that a reader never sees half of it and nobody's line is lost."""
    _of(path).append(path, (line + "\n").encode("utf-8"))


def create_text(path: str, text: str) -> bool:
    """Makes a small file unless there is one; of several that try at once one alone is told True."""
    return _of(path).create(path, text.encode("utf-8"))


def replace_text(path: str, text: str, *, known: str) -> str | None:
    """Replaces a small file in a bucket, unless somebody else has written it meanwhile.

    Args:
      path: `gs://…`; no local file system can do this.
      text: for it.
      known: its `identity` as last seen.

    Returns:
      Its identity now; None if it is another one's, or gone.
    """
    return _BUCKETS.replace(path, text.encode("utf-8"), known)


def nearest_names(path: str) -> str:
    """A few names that do lie in the folder of `path` (a pattern or a file), for an error message."""
    folder = os.path.expanduser(os.path.dirname(path.split(",")[0])) or "."
    if not is_dir(folder):
        return f"the folder {folder} does not exist"
    try:
        names = list_dir(folder)
    except OSError as error:
        return f"the folder {folder} cannot be listed: {error.strerror or error}"
    if not names:
        return f"the folder {folder} is empty"
    return f"the folder {folder} holds {len(names)} other names: {first_of(names)}"


def delete_partials_of(path: str) -> None:
    """Deletes what killed processes left while they wrote `path`; only for one that writes it alone."""
    _of(path).delete_partials_of(path)
