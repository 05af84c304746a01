"""The bytes of an object in a bucket as a file that is read."""

from __future__ import annotations

import io
import os
from typing import Any

from estimators.storage.bucket_client import bounded, os_errors, written_anew


class ObjectBytes(io.RawIOBase):
    """The bytes of one version of an object, fetched as they are asked for.

    Args:
      path: `gs://…`, for messages.
      blob: the object, with its size and generation.
    """

    def __init__(self, path: str, blob: Any) -> None:
        super().__init__()
        self._path, self._blob, self._at = path, blob, 0
        self._size, self._generation = int(blob.size), int(blob.generation)

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def tell(self) -> int:
        """Where it is read next."""
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """As of any file."""
        self._at = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        return self._at

    def readall(self) -> bytes:
        """What is left, in one request."""
        return self._fetch(max(0, self._size - self._at))

    def readinto(self, buffer: Any) -> int:
        """As much as there is room for."""
        data = self._fetch(min(len(buffer), max(0, self._size - self._at)))
        buffer[: len(data)] = data
        return len(data)

    def _fetch(self, size: int) -> bytes:
        if not size:
            return b""
        with os_errors(self._path):
            data: bytes = self._blob.download_as_bytes(
                start=self._at,
                end=self._at + size - 1,
                raw_download=True,  # else what is stored packed would come unpacked
                if_generation_match=self._generation,
                checksum=None,  # there is none of a part
                **bounded(),
            )
        if int(self._blob.generation) != self._generation:  # where a store does not look at the condition
            raise written_anew(self._path)
        self._at += len(data)
        return data
