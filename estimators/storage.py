"""All access to files, local or remote, behind a few functions.

Local paths use the standard library, so that a command can check its input without the seconds that
`import tensorflow` takes. Paths with a scheme (`gs://…`) go through `tf.io.gfile`, imported when first met.
"""

from __future__ import annotations

import contextlib
import fnmatch
import glob as local_glob
import os
import shutil
import uuid
from collections.abc import Iterator
from typing import IO, Any


def is_remote(path: str) -> bool:
    """True for `scheme://…`."""
    return "://" in path


def _gfile() -> Any:
    import tensorflow as tf

    return tf.io.gfile


def glob(pattern: str) -> list[str]:
    """The files (not folders) that match `pattern`, sorted. Commas separate several patterns."""
    found: set[str] = set()
    for part in filter(None, (piece.strip() for piece in pattern.split(","))):
        if is_remote(part):
            found.update(path for path in _gfile().glob(part) if not _gfile().isdir(path))
        else:
            found.update(path for path in local_glob.glob(os.path.expanduser(part)) if not os.path.isdir(path))
    return sorted(found)


def exists(path: str) -> bool:
    """True if `path` is a file or a folder."""
    return bool(_gfile().exists(path)) if is_remote(path) else os.path.exists(path)


def is_dir(path: str) -> bool:
    """True if `path` is a folder."""
    return bool(_gfile().isdir(path)) if is_remote(path) else os.path.isdir(path)


def list_dir(path: str) -> list[str]:
    """The names in folder `path`, sorted, without slashes; [] if there is no such folder."""
    if not is_dir(path):
        return []
    names = _gfile().listdir(path) if is_remote(path) else os.listdir(path)
    return sorted(name.rstrip("/") for name in names)


def names_below(folder: str) -> list[str]:
    """All that lies in `folder` and in the folders below it: relative names, sorted, those of folders with a final `/`.

    Links are followed, but no folder is entered twice.
    """
    names: list[str] = []
    entered: set[str] = set()
    walk = _gfile().walk(folder) if is_remote(folder) else os.walk(folder, followlinks=True)
    for path, folders, files in walk:
        if not is_remote(folder):
            real = os.path.realpath(path)
            if real in entered:
                folders.clear()
                continue
            entered.add(real)
        below = path[len(folder) :].strip("/")
        prefix = f"{below}/" if below else ""
        names += [f"{prefix}{name.rstrip('/')}/" for name in folders]
        names += [f"{prefix}{name}" for name in files]
    return sorted(names)


def size(path: str) -> int:
    """Bytes in the file `path`."""
    return int(_gfile().stat(path).length) if is_remote(path) else os.path.getsize(path)


def modified_ns(path: str) -> int:
    """When the file `path` was written last, in nanoseconds of its file system's clock."""
    return int(_gfile().stat(path).mtime_nsec) if is_remote(path) else os.stat(path).st_mtime_ns


def identity(path: str) -> str:
    """What is another one after the file `path` was written again, even to the same size and with its old time set.

    On a local disk that is also after it was renamed; nobody can set the time of the last change of its inode.
    """
    parts = [size(path), modified_ns(path)]
    if not is_remote(path):
        status = os.stat(path)
        parts += [status.st_ctime_ns, status.st_ino]
    return "-".join(map(str, parts))


def open_binary(path: str) -> IO[bytes]:
    """Opens `path` for reading bytes; the result can `read`, `seek` and `tell`."""
    return _gfile().GFile(path, "rb") if is_remote(path) else open(path, "rb")


def read_text(path: str) -> str:
    """The UTF-8 text in the file `path`."""
    with open_binary(path) as file:
        return file.read().decode("utf-8")


def make_dirs(path: str) -> None:
    """Makes the folder `path` and its parents, if they are missing."""
    _gfile().makedirs(path) if is_remote(path) else os.makedirs(path, exist_ok=True)


def rename(source: str, target: str) -> None:
    """Moves a file onto `target` (replacing it), or a folder to `target` (which must not exist)."""
    _gfile().rename(source, target, overwrite=True) if is_remote(source) else os.replace(source, target)


def delete(path: str) -> None:
    """Deletes a file, or a folder with all that is in it; nothing if it is not there."""
    if is_remote(path):
        if _gfile().isdir(path):
            _gfile().rmtree(path)
        elif _gfile().exists(path):
            _gfile().remove(path)
    elif os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path, ignore_errors=False)
    else:
        with contextlib.suppress(FileNotFoundError):
            os.remove(path)


@contextlib.contextmanager
def written_whole(path: str) -> Iterator[IO[bytes]]:
    """Writes a file that appears under its name whole or not at all.

    The bytes go to a hidden neighbour, which is renamed onto `path` when the block ends without an error and deleted
    when it does not; an older file at `path` stays until then.
    """
    folder, name = os.path.split(path)
    partial = os.path.join(folder, f".{name}.{uuid.uuid4().hex[:8]}.partial")
    try:
        with _gfile().GFile(partial, "wb") if is_remote(partial) else open(partial, "wb") as file:
            yield file
            file.flush()
            if not is_remote(partial):
                os.fsync(file.fileno())
        rename(partial, path)
    except BaseException:
        delete(partial)
        raise


def write_text(path: str, text: str) -> None:
    """Writes a small UTF-8 file, whole or not at all."""
    with written_whole(path) as file:
        file.write(text.encode("utf-8"))


def append_line(path: str, line: str) -> None:
    """Appends one line to a text file, in a single write, so that a reader never sees half of one process's line.

    Object stores cannot append: there the file is written anew with the line added.
    """
    if is_remote(path):
        write_text(path, (read_text(path) if exists(path) else "") + line + "\n")
        return
    with open(path, "ab", buffering=0) as file:
        file.write((line + "\n").encode("utf-8"))


def nearest_names(path: str, limit: int = 3) -> str:
    """A few names that do lie in the folder of `path` (a pattern or a file), for an error message."""
    folder = os.path.expanduser(os.path.dirname(path.split(",")[0])) or "."
    if not is_dir(folder):
        return f"the folder {folder} does not exist"
    names = list_dir(folder)
    if not names:
        return f"the folder {folder} is empty"
    shown = ", ".join(names[:limit]) + (", …" if len(names) > limit else "")
    return f"the folder {folder} holds {len(names)} other names: {shown}"


def is_hidden_partial(name: str) -> bool:
    """True for the neighbours that `written_whole` makes and that a killed process may have left."""
    return fnmatch.fnmatch(name, ".*.partial")


def delete_partials_of(path: str) -> None:
    """Deletes what killed processes left of a local `path` while they wrote it; only for one that writes it alone."""
    folder, name = os.path.split(path)
    for found in list_dir(folder or "."):
        if fnmatch.fnmatch(found, f".{local_glob.escape(name)}.????????.partial"):
            delete(os.path.join(folder, found))
