"""A folder or a .zip of photos: the names in it, and the bytes behind a name. Nothing is unpacked."""

from __future__ import annotations

import contextlib
import os
import stat
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from typing import Protocol

from estimators import storage
from estimators.errors import DataError, UserError

# A picture file larger than this is no photo; a .zip can hold one in a few kilobytes.
MOST_BYTES = 512 << 20
_ENCRYPTED = 0x1


class UnreadableError(Exception):
    """A file's bytes cannot be had; the text says why."""


class PhotoSource(Protocol):
    """Where photos come from."""

    def names(self) -> Sequence[str]:
        """All files and folders, sorted, relative, with `/` between; the names of folders end with `/`."""

    def read(self, name: str) -> bytes:
        """The bytes of one file.

        Raises:
          UnreadableError: they cannot be had.
        """


class FolderSource:
    """A folder, with all folders below it."""

    def __init__(self, path: str) -> None:
        self._path = path

    def names(self) -> Sequence[str]:
        """See PhotoSource."""
        try:
            return storage.names_below(self._path)
        except OSError as error:
            raise UserError(
                "A folder of photos cannot be read",
                asked=f"--input={self._path}",
                found=f"{error.filename or self._path}: {error.strerror or error}",
                change="its permissions, or move it elsewhere: no photo may be left out without a word",
            ) from None

    def read(self, name: str) -> bytes:
        """See PhotoSource."""
        path = os.path.join(self._path, name)
        if not storage.is_remote(path) and os.path.exists(path) and not os.path.isfile(path):
            raise UnreadableError("it is not a regular file")  # to open a named pipe would wait for ever
        try:
            if storage.size(path) > MOST_BYTES:
                raise UnreadableError(f"it is larger than {MOST_BYTES >> 20} MiB")
            with storage.open_binary(path) as file:
                return file.read()
        except OSError as error:
            raise UnreadableError(f"it cannot be read: {error.strerror or error}") from error


class ZipSource:
    """A .zip; its members are read where they are.

    Raises:
      DataError: a member is absolute, leads outside, is a link or is encrypted.
    """

    def __init__(self, path: str, archive: zipfile.ZipFile) -> None:
        self._archive = archive
        self._members: dict[str, zipfile.ZipInfo] = {}
        self._names: list[str] = []
        for member in archive.infolist():
            name = _member_name(path, member)
            self._members[name] = member
            self._names.append(name)

    def names(self) -> Sequence[str]:
        """See PhotoSource; a name that the archive holds twice is here twice."""
        return sorted(self._names)

    def read(self, name: str) -> bytes:
        """See PhotoSource."""
        member = self._members[name]
        if member.file_size > MOST_BYTES:
            raise UnreadableError(f"it is larger than {MOST_BYTES >> 20} MiB")
        try:
            return self._archive.read(member)
        # What zipfile raises for damaged data depends on the method of compression.
        except (
            OSError,
            EOFError,
            NotImplementedError,
            RuntimeError,
            ValueError,
            zipfile.BadZipFile,
            zlib.error,
        ) as error:
            raise UnreadableError(f"it cannot be unpacked: {error}") from error


def _member_name(path: str, member: zipfile.ZipInfo) -> str:
    """The member's name with `/` between its parts, or DataError."""
    # Archives made on Windows may have backslashes. What a null byte cuts off is seen in `orig_filename` only.
    name = member.orig_filename.replace("\\", "/")
    parts = name.split("/")
    reason = ""
    if name.startswith("/") or (len(name) > 1 and name[1] == ":"):
        reason = "its path is absolute"
    elif ".." in parts:
        reason = "its path leads outside"
    elif "\0" in name:
        reason = "its path holds a null byte"
    elif stat.S_ISLNK(member.external_attr >> 16):
        reason = "it is a link"
    elif member.flag_bits & _ENCRYPTED:
        reason = "it is encrypted"
    if reason:
        raise DataError(
            "The .zip holds a member that is not accepted",
            asked=f"--input={path}",
            found=f"{member.orig_filename!r}: {reason}",
            change="make the .zip anew from plain files, or unpack it yourself and give --input the folder",
        )
    return "/".join(part for part in parts[:-1] if part != ".") + "/" * (len(parts) > 1) + parts[-1]


@contextlib.contextmanager
def open_source(path: str) -> Iterator[PhotoSource]:
    """The photos at `path`, a folder or a .zip.

    Raises:
      UserError: there is nothing, or something else.
      DataError: the .zip is damaged or holds a member that is not accepted.
    """
    if storage.is_dir(path):
        yield FolderSource(path)
        return
    if not storage.exists(path):
        raise UserError(
            "There are no photos to convert",
            asked=f"--input={path}",
            found=storage.nearest_names(path),
            change="--input to a folder of photos or a .zip of one",
        )
    with contextlib.ExitStack() as stack:
        try:
            archive = stack.enter_context(zipfile.ZipFile(stack.enter_context(storage.open_binary(path))))
        except (zipfile.BadZipFile, ValueError, OSError) as error:
            raise DataError(
                "The photos cannot be read",
                asked=f"--input={path}",
                found=f"it is not a folder, nor a .zip that can be opened: {error}",
                change="--input to a folder of photos or a .zip of one",
            ) from error
        yield ZipSource(path, archive)
