"""Whether what flags name in a bucket can be reached, told before anything begins, and soon.

TensorFlow would try for minutes what Google refuses at once, and then say which function failed. A local path costs
nothing here.
"""

from __future__ import annotations

import contextlib
import errno
import uuid
from collections.abc import Iterator, Mapping

from estimators.errors import InfrastructureError, UserError
from estimators.storage.arrow_files import ArrowFiles
from estimators.storage.bucket_client import bounded, client, is_anonymous, os_errors, split
from estimators.storage.name_patterns import WILDCARD, patterns_in

_LOOK_SECS = 15.0


def check_access(
    *,
    read: Mapping[str, str | None] | None = None,
    read_here: Mapping[str, str | None] | None = None,
    folders: Mapping[str, str | None] | None = None,
    files: Mapping[str, str | None] | None = None,
) -> None:
    """Asks for one name below each path in a bucket; where it is to be written, makes an object and deletes it again.

    Nothing else tells whether Google lets somebody write: what holds for a bucket need not hold for a folder in it.

    Args:
      read: flag -> path or pattern, None for one that was not given.
      read_here: the same, of what TensorFlow reads nothing of: it may have any scheme that Arrow knows.
      folders: flag -> folder that will be written in.
      files: flag -> file that will be written.

    Raises:
      UserError: the path is none, its bucket does not exist, or the store refuses.
      InfrastructureError: the store cannot be reached.
    """
    for flag, part in [*_remote_parts(read or {}), *_remote_parts(read_here or {})]:
        with _told(flag, part, "read", others=flag in (read_here or {})):
            if flag in (read_here or {}) and not part.startswith("gs://"):
                _look_elsewhere(part)
            else:
                _look(part)
    written = [(flag, path, path) for flag, path in (folders or {}).items()]
    written += [(flag, path, path and path.rpartition("/")[0]) for flag, path in (files or {}).items()]
    for flag, path, folder in written:
        if path and folder and "://" in path:
            with _told(flag, path, "read"):
                _look(path)
            with _told(flag, path, "written"):
                _try_to_write(folder)


def _remote_parts(patterns: Mapping[str, str | None]) -> Iterator[tuple[str, str]]:
    for flag, pattern in patterns.items():
        for part in patterns_in(pattern or ""):
            if "://" in part:
                yield flag, part


def _folder_of(path: str) -> str:
    wildcard = WILDCARD.search(path)
    return path[: wildcard.start() if wildcard else len(path)].rpartition("/")[0]


def _look(path: str) -> None:
    bucket, name = split(path)
    with os_errors(path):
        list(client().list_blobs(bucket, prefix=_folder_of(name), max_results=1, **bounded(_LOOK_SECS)))


def _look_elsewhere(path: str) -> None:
    files, root = ArrowFiles(), "/".join(path.split("/")[:3])
    # Arrow bounds its own tries, to some seconds.
    if not files.is_dir(_folder_of(path)) and not files.exists(root):
        raise FileNotFoundError(errno.ENOENT, "no such bucket", path)


def _try_to_write(path: str) -> None:
    bucket, name = split(path.rstrip("/"))
    from google.api_core.exceptions import NotFound

    # In a train_dir it is one of the names that a run may delete.
    blob = client().bucket(bucket).blob(f"{name}/.preflight-{uuid.uuid4().hex[:8]}".lstrip("/"))
    with os_errors(path):
        blob.upload_from_string(b"", **bounded(_LOOK_SECS))
        with contextlib.suppress(NotFound):  # it went at a first try, whose answer was lost
            blob.delete(**bounded(_LOOK_SECS))


@contextlib.contextmanager
def _told(flag: str, path: str, how: str, *, others: bool = False) -> Iterator[None]:
    """`others`: whether other stores than Google's would do."""
    scheme, bucket = path.split("://")[0], path.split("/")[2]
    asked = f"--{flag}={path}"
    try:
        yield
    except FileNotFoundError:
        make = f", or make it: gcloud storage buckets create gs://{bucket}" if scheme == "gs" else ""
        raise UserError(
            f"The bucket of --{flag} does not exist",
            asked=asked,
            found=f"no bucket {bucket}",
            change=f"--{flag}{make}",
        ) from None
    except PermissionError as error:
        raise UserError(
            f"--{flag} cannot be {how}",
            asked=asked,
            found=error.strerror or str(error),
            change=_rights(flag, how)
            if scheme == "gs"
            else f"--{flag}, or the credentials for {scheme}:// on this machine",
        ) from None
    except OSError as error:
        if error.errno == errno.EPROTONOSUPPORT:
            raise UserError(
                f"--{flag} cannot be reached",
                asked=asked,
                found=error.strerror or str(error),
                change=f"--{flag} to a local path or to gs://bucket/…" + (", s3://bucket/…" if others else ""),
            ) from None
        if error.errno == errno.EINVAL:
            raise UserError(
                f"--{flag} cannot be {how}", asked=asked, found=error.strerror or str(error), change=f"--{flag}"
            ) from None
        raise InfrastructureError(
            f"--{flag} cannot be reached",
            asked=asked,
            found=f"{error.strerror or error}" + (f", tried for {_LOOK_SECS:g} s" if scheme == "gs" else ""),
            change="look at the network of this machine; then the same command again",
        ) from error


def _rights(flag: str, how: str) -> str:
    if is_anonymous():
        return "gcloud auth application-default login, or GOOGLE_APPLICATION_CREDENTIALS to a key file"
    role = "Storage Object User" if how == "written" else "Storage Object Viewer"
    return f"--{flag}, or have its owner give these credentials the role {role} on the bucket"
