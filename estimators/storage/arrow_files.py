"""Files that Arrow has a file system for (`s3://bucket/…`, `abfs://…`, `hdfs://host/…`), to be read and no more.

What only our own code reads may lie there, the records to predict above all; TensorFlow 2.15 knows none of these. Arrow
finds credentials and addresses where each store's own tools do: for S3 in `AWS_…` variables, `~/.aws`, or the machine.
See files.py for what the methods promise.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import io
import os
import re
from collections.abc import Iterator
from typing import IO, Any

from estimators.storage.name_patterns import WILDCARD, matches

_READ_AHEAD = 1 << 20
# Arrow tells by words alone what a store answered.
_NOT_THERE = re.compile(r"NO_SUCH_(BUCKET|KEY)|RESOURCE_NOT_FOUND|does not exist|Bucket '.*' not found", re.IGNORECASE)
_REFUSED = re.compile(
    r"ACCESS_DENIED|FORBIDDEN|INVALID_ACCESS_KEY|SIGNATURE|Unauthorized|not authorized", re.IGNORECASE
)


class ArrowFiles:
    """Paths with another scheme than `gs://`."""

    def glob(self, pattern: str) -> list[str]:
        """See files.py. As on a local disk, `*` matches no slash, and no name with a dot at its beginning."""
        wildcard = WILDCARD.search(pattern)
        if wildcard is None:
            return [pattern] if self._info(pattern).is_file else []
        folder, _, rest = pattern[: wildcard.start()].rpartition("/")
        parts = (rest + pattern[wildcard.start() :]).split("/")
        names = self._names(folder, recursive=len(parts) > 1, only_files=True)
        return [f"{folder}/{name}" for name in names if matches(name.split("/"), parts)]

    def exists(self, path: str) -> bool:
        """See files.py."""
        return bool(self._info(path).type != _fs().FileType.NotFound)

    def is_dir(self, path: str) -> bool:
        """See files.py."""
        return bool(self._info(path).type == _fs().FileType.Directory)

    def names_in(self, path: str) -> list[str]:
        """See `list_dir`."""
        return self._names(path, recursive=False, only_files=False)

    def size(self, path: str) -> int:
        """See files.py."""
        return int(self._known(path).size)

    def modified_ns(self, path: str) -> int:
        """See files.py."""
        return int(self._known(path).mtime_ns or 0)

    def identity(self, path: str) -> str:
        """See files.py; Arrow tells no more than size and time, which S3 knows to the second."""
        info = self._known(path)
        return f"{info.size}-{info.mtime_ns or 0}"

    def open_binary(self, path: str) -> IO[bytes]:
        """See files.py."""
        with _os_errors(path):
            system, inner = _located(path)
            return io.BufferedReader(_Bytes(path, system.open_input_file(inner)), _READ_AHEAD)

    def read_bytes(self, path: str) -> bytes:
        """See `read_text`."""
        with self.open_binary(path) as file:
            return file.read()

    def _info(self, path: str) -> Any:
        with _os_errors(path):
            system, inner = _located(path.rstrip("/"))
            return system.get_file_info(inner)

    def _known(self, path: str) -> Any:
        info = self._info(path)
        if not info.is_file:
            raise FileNotFoundError(errno.ENOENT, "no such file", path)
        return info

    def _names(self, folder: str, *, recursive: bool, only_files: bool) -> list[str]:
        with _os_errors(folder):
            system, inner = _located(folder)
            selector = _fs().FileSelector(inner, recursive=recursive, allow_not_found=True)
            found = [info for info in system.get_file_info(selector) if info.is_file or not only_files]
        begin = len(inner.rstrip("/")) + 1
        return [info.path[begin:] for info in found]


class _Bytes(io.RawIOBase):
    """An Arrow file whose errors while it is read are OSErrors too."""

    def __init__(self, path: str, file: Any) -> None:
        super().__init__()
        self._path, self._file = path, file

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return int(self._file.tell())

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return int(self._file.seek(offset, whence))

    def readinto(self, buffer: Any) -> int:
        with _os_errors(self._path):
            return int(self._file.readinto(buffer))

    def close(self) -> None:
        self._file.close()
        super().close()


def _fs() -> Any:
    # Half a second, which a command that meets no such path does not spend.
    from pyarrow import fs

    return fs


@functools.lru_cache(maxsize=8)
def _file_system(process: int, scheme: str, authority: str) -> tuple[Any, str]:
    """The file system, and how the path of its root begins; its connections do not survive a fork."""
    system, root = _fs().FileSystem.from_uri(f"{scheme}://{authority}/")
    return system, str(root).rstrip("/")


def _located(path: str) -> tuple[Any, str]:
    # The name goes to Arrow as it is: in a URI of its own a space or a % would have to be escaped.
    scheme, _, rest = path.partition("://")
    authority, _, name = rest.partition("/")
    system, root = _file_system(os.getpid(), scheme, authority)
    return system, f"{root}/{name}"


@contextlib.contextmanager
def _os_errors(path: str) -> Iterator[None]:
    """Has what goes wrong look as it does with a local file.

    Raises:
      FileNotFoundError: there is no such file or bucket.
      PermissionError: the store refuses.
      OSError: Arrow has no such file system, EPROTONOSUPPORT; all else, EIO.
    """
    import pyarrow as pa

    try:
        yield
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise OSError(errno.EPROTONOSUPPORT, f"Arrow opens no such path ({_first_line(error)})", path) from error
    except OSError as error:
        text = _first_line(error)
        if isinstance(error, FileNotFoundError) or _NOT_THERE.search(text):
            raise FileNotFoundError(errno.ENOENT, f"no such file or bucket ({text})", path) from error
        if isinstance(error, PermissionError) or _REFUSED.search(text):
            raise PermissionError(errno.EACCES, f"permission denied ({text})", path) from error
        raise OSError(errno.EIO, f"the store does not serve it ({text})", path) from error


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
