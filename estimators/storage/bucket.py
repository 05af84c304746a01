"""Files in a bucket of Google Cloud Storage. See files.py for what the methods promise.

An object appears whole when all of it has arrived, and is seen by everybody from then on; it is never appended to nor
renamed. There are no folders: one is where the names of objects begin with it. What TensorFlow makes as a folder is an
empty object whose name ends with a slash; it is passed over here. Each version of an object has a number of its own,
the generation: "only if nobody else has written it" is a condition that the store itself checks.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import re
import tempfile
from collections.abc import Callable, Iterator
from typing import IO, Any

from estimators.storage.bucket_client import bounded, client, os_errors, split
from estimators.storage.name_patterns import WILDCARD, matches
from estimators.storage.object_bytes import ObjectBytes

_IN_MEMORY = 8 << 20  # what is written is kept there until it is sent; more than that in a temporary file
_READ_AHEAD = 1 << 20
_MOST_TRIES = 50
NOT_THERE = "0"  # the identity of an object that is not there


def _bucket(path: str) -> Any:
    return client().bucket(split(path)[0])


def _found(path: str) -> Any:
    """The object with what is known of it; None if there is none."""
    name = split(path)[1]
    with os_errors(path):
        return _bucket(path).get_blob(name, **bounded()) if name else None


def _known(path: str) -> Any:
    blob = _found(path)
    if blob is None:
        raise FileNotFoundError(errno.ENOENT, "no such object", path)
    return blob


def _below(path: str, **wanted: Any) -> Any:
    """The objects below a folder, and the beginning of their names that is the folder's."""
    bucket, name = split(path.rstrip("/"))
    prefix = f"{name}/" if name else ""
    return client().list_blobs(bucket, prefix=prefix, **wanted, **bounded()), len(prefix)


class BucketFiles:
    """Paths that begin with `gs://`."""

    def glob(self, pattern: str) -> list[str]:
        """See files.py. As on a local disk, `*` matches no slash, and no name with a dot at its beginning."""
        wildcard = WILDCARD.search(pattern)
        if wildcard is None:
            return [pattern] if _found(pattern) else []
        folder, _, rest = pattern[: wildcard.start()].rpartition("/")
        parts = (rest + pattern[wildcard.start() :]).split("/")
        with os_errors(pattern):
            listed, begin = _below(folder, **({} if len(parts) > 1 else {"delimiter": "/"}))
            names = [blob.name[begin:] for blob in listed]
        return [f"{folder}/{name}" for name in names if matches(name.split("/"), parts)]

    def exists(self, path: str) -> bool:
        """See files.py."""
        return _found(path) is not None or self.is_dir(path)

    def is_dir(self, path: str) -> bool:
        """See files.py."""
        try:
            with os_errors(path):
                listed, begin = _below(path, max_results=1)
                return bool(list(listed)) or not begin
        except FileNotFoundError:
            return False

    def names_in(self, path: str) -> list[str]:
        """See `list_dir`."""
        try:
            with os_errors(path):
                listed, begin = _below(path, delimiter="/")
                names = [blob.name[begin:] for blob in listed] + [prefix[begin:-1] for prefix in listed.prefixes]
        except FileNotFoundError:
            return []
        return list(set(filter(None, names)))

    def names_below(self, folder: str) -> list[str]:
        """See files.py."""
        with os_errors(folder):
            listed, begin = _below(folder)
            files = {blob.name[begin:] for blob in listed} - {""}
        folders = {name[: match.end()] for name in files for match in re.finditer("/", name)}
        return list(files | folders)

    def size(self, path: str) -> int:
        """See files.py."""
        return int(_known(path).size)

    def modified_ns(self, path: str) -> int:
        """See files.py."""
        return int(_known(path).updated.timestamp() * 1e9)

    def identity(self, path: str) -> str:
        """See files.py."""
        return str(_known(path).generation)

    def open_binary(self, path: str) -> IO[bytes]:
        """See files.py. What is read is of one version of the object, or an error."""
        return io.BufferedReader(ObjectBytes(path, _known(path)), _READ_AHEAD)

    def read_bytes(self, path: str) -> bytes:
        """See files.py."""
        found = self._whole(path)
        if found is None:
            raise FileNotFoundError(errno.ENOENT, "no such object", path)
        return found[0]

    def _whole(self, path: str) -> tuple[bytes, str] | None:
        """All bytes of an object, in one request, so that they are of one version, and which; None if there is none."""
        blob = _bucket(path).blob(split(path)[1])
        try:
            with os_errors(path):
                content: bytes = blob.download_as_bytes(raw_download=True, **bounded())
        except FileNotFoundError:
            return None
        return content, str(blob.generation)

    def make_dirs(self, path: str) -> None:
        """See files.py."""

    def rename(self, source: str, target: str) -> None:
        """See files.py; a crash in between leaves both."""
        blob = _known(source)
        self._copy(blob, source, target)
        with os_errors(source):
            self._delete_object(*split(source))

    def _copy(self, blob: Any, source: str, target: str) -> None:
        with os_errors(source):
            copy, token = _bucket(target).blob(split(target)[1]), None
            while True:  # a large one, or one from a bucket elsewhere, takes several requests
                token, *_ = copy.rewrite(blob, token=token, **bounded())
                if token is None:
                    return

    def publish_folder(self, source: str, target: str, last: str) -> None:
        """See files.py."""
        found = [
            os.path.relpath(os.path.join(folder, name), source)
            for folder, _, names in os.walk(source)
            for name in names
        ]
        for name in sorted(found, key=lambda name: (name == last, name)):
            with open(os.path.join(source, name), "rb") as file:
                self._upload(os.path.join(target, name), file)

    def delete(self, path: str) -> None:
        """See files.py."""
        bucket, name = split(path.rstrip("/"))
        if not name:
            raise OSError(errno.EPERM, "a whole bucket is never emptied", path)
        with os_errors(path):
            listed, _ = _below(path)
            for each in [name, *(blob.name for blob in listed)]:
                self._delete_object(bucket, each)

    def _delete_object(self, bucket: str, name: str) -> None:
        from google.api_core.exceptions import NotFound

        with contextlib.suppress(NotFound):  # also where it went at a first try, whose answer was lost
            client().bucket(bucket).blob(name).delete(**bounded())

    @contextlib.contextmanager
    def written_whole(self, path: str, ready: Callable[[], object]) -> Iterator[IO[bytes]]:
        """The bytes are gathered here, and sent at the end; after an error nothing is."""
        with tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY, prefix="cvd-") as file:
            yield file
            ready()
            self._upload(path, file)

    def _upload(self, path: str, file: Any) -> None:
        size = file.seek(0, os.SEEK_END)
        with os_errors(path):
            _bucket(path).blob(split(path)[1]).upload_from_file(file, rewind=True, size=size, **bounded())

    def delete_partials_of(self, path: str) -> None:
        """Nothing of what was not sent is there."""

    def append(self, path: str, line: bytes) -> None:
        """Writes the object anew with the line added, as often as another process was quicker."""
        for _ in range(_MOST_TRIES):
            before, identity = self._whole(path) or (b"", NOT_THERE)
            if self.replace(path, before + line, identity):
                return
        raise OSError(errno.EBUSY, "others write it all the time", path)

    def create(self, path: str, content: bytes) -> bool:
        """See `create_text`."""
        return self.replace(path, content, NOT_THERE) is not None

    def replace(self, path: str, content: bytes, known: str) -> str | None:
        """See `replace_text`."""
        from google.api_core.exceptions import PreconditionFailed

        with os_errors(path):
            blob = _bucket(path).blob(split(path)[1])
            try:
                blob.upload_from_string(content, if_generation_match=int(known), **bounded())
            except PreconditionFailed:
                # Where the answer to a first try was lost, the second finds what the first has written.
                now = self._whole(path)
                return now[1] if now is not None and now[0] == content else None
            return str(blob.generation)
