"""Files of this machine, or of a file system that is mounted on it. See files.py for what the methods promise."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from collections.abc import Callable, Iterator
from typing import IO

from estimators.storage.hidden_partials import hidden_partial, is_hidden_partial
from estimators.storage.name_patterns import WILDCARD, matches

# On each disk with ext4, and closed to all but root.
_OF_FSCK = "lost+found"


class LocalFiles:
    """Paths without a scheme."""

    def glob(self, pattern: str) -> list[str]:
        """See files.py."""
        return [path for path in _matching(os.path.expanduser(pattern)) if not os.path.isdir(path)]

    def matching_folders(self, pattern: str) -> list[str]:
        """The folders that match, in no order."""
        return [path for path in _matching(os.path.expanduser(pattern)) if os.path.isdir(path)]

    def exists(self, path: str) -> bool:
        """See files.py."""
        return os.path.exists(path)

    def is_dir(self, path: str) -> bool:
        """See files.py."""
        return os.path.isdir(path)

    def names_in(self, path: str) -> list[str]:
        """See `list_dir`."""
        return os.listdir(path) if os.path.isdir(path) else []

    def names_below(self, folder: str) -> list[str]:
        """See files.py."""
        names: list[str] = []
        entered: set[str] = set()
        for path, folders, files in os.walk(folder, followlinks=True, onerror=_unless_it_is_gone):
            real = os.path.realpath(path)
            if real in entered:
                folders.clear()
                continue
            entered.add(real)
            below = path[len(folder) :].strip("/")
            prefix = f"{below}/" if below else ""
            names += [f"{prefix}{name}/" for name in folders]
            names += [f"{prefix}{name}" for name in files]
        return names

    def size(self, path: str) -> int:
        """See files.py."""
        return os.path.getsize(path)

    def modified_ns(self, path: str) -> int:
        """See files.py."""
        return os.stat(path).st_mtime_ns

    def identity(self, path: str) -> str:
        """See files.py."""
        status = os.stat(path)
        return "-".join(map(str, (status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)))

    def open_binary(self, path: str) -> IO[bytes]:
        """See files.py."""
        return open(path, "rb")

    def read_bytes(self, path: str) -> bytes:
        """See `read_text`."""
        with open(path, "rb") as file:
            return file.read()

    def make_dirs(self, path: str) -> None:
        """See files.py."""
        os.makedirs(path, exist_ok=True)

    def rename(self, source: str, target: str) -> None:
        """See files.py."""
        os.replace(source, target)

    def publish_folder(self, source: str, target: str, last: str) -> None:
        """See files.py."""
        os.replace(source, target)

    def delete(self, path: str) -> None:
        """See files.py."""
        if os.path.isdir(path) and not os.path.islink(path):
            shutil.rmtree(path, ignore_errors=False)
        else:
            with contextlib.suppress(FileNotFoundError):
                os.remove(path)

    @contextlib.contextmanager
    def written_whole(self, path: str, ready: Callable[[], object]) -> Iterator[IO[bytes]]:
        """The bytes go to a hidden neighbour, which is renamed onto `path` at the end, or deleted after an error."""
        partial = hidden_partial(path)
        try:
            with open(partial, "wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            ready()
            os.replace(partial, path)
            _sync_folder(os.path.dirname(path) or ".")
        except BaseException:
            self.delete(partial)
            raise

    def append(self, path: str, line: bytes) -> None:
        """In a single write; the system puts those of several processes one after the other."""
        with open(path, "ab", buffering=0) as file:
            file.write(line)

    def create(self, path: str, content: bytes) -> bool:
        """See `create_text`. A reader may see it before it is all written."""
        try:
            with open(path, "xb") as file:
                file.write(content)
        except FileExistsError:
            return False
        except OSError:
            self.delete(path)
            raise
        return True

    def delete_partials_of(self, path: str) -> None:
        """See files.py."""
        folder, name = os.path.split(path)
        for found in self.names_in(folder or "."):
            if is_hidden_partial(found, of=name):
                self.delete(os.path.join(folder, found))


def _matching(pattern: str) -> list[str]:
    """As glob.glob, which passes over a folder that it may not list, or half of one on a disk that fails."""
    folder, name = os.path.split(pattern)
    folders = _matching(folder) if WILDCARD.search(folder) else [folder]
    found: list[str] = []
    for one in folders:
        try:
            if WILDCARD.search(name):
                names = [entry for entry in os.listdir(one or ".") if matches([entry], [name]) and entry != _OF_FSCK]
            else:
                os.lstat(os.path.join(one, name))
                names = [name]
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
                raise
            continue  # not there, or no folder
        found += [os.path.join(one, entry) for entry in names]
    return found


def _unless_it_is_gone(error: OSError) -> None:
    # os.walk would pass over a folder that cannot be read without a word.
    if not isinstance(error, FileNotFoundError):
        raise error


def _sync_folder(folder: str) -> None:
    """So that a name outlives the end of the machine too (fsync(2)); some network file systems do not know that."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
