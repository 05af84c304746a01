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
from estimators.storage.bucket_client import bounded, client, is_anonymous, os_errors, split

_LOOK_SECS = 15.0


def check_access(
    *,
    read: Mapping[str, str | None] | None = None,
    folders: Mapping[str, str | None] | None = None,
    files: Mapping[str, str | None] | None = None,
) -> None:
    """Asks for one name below each path in a bucket; where it is to be written, makes an object and deletes it again.

    Nothing else tells whether Google lets somebody write: what holds for a bucket need not hold for a folder in it.

    Args:
      read: flag -> path or pattern, None for one that was not given.
      folders: flag -> folder that will be written in.
      files: flag -> file that will be written.

    Raises:
      UserError: the path is none, its bucket does not exist, or Google refuses.
      InfrastructureError: Google cannot be reached.
    """
    for flag, path in (read or {}).items():
        for part in filter(None, (piece.strip() for piece in (path or "").split(","))):
            if "://" in part:
                with _told(flag, part, "read"):
                    _look(part)
    written = [(flag, path, path) for flag, path in (folders or {}).items()]
    written += [(flag, path, path and path.rpartition("/")[0]) for flag, path in (files or {}).items()]
    for flag, path, folder in written:
        if path and folder and "://" in path:
            with _told(flag, path, "read"):
                _look(path)
            with _told(flag, path, "written"):
                _try_to_write(folder)


def _look(path: str) -> None:
    bucket, name = split(path)
    with os_errors(path):
        folder = name[: min((at for at in map(name.find, "*?[") if at >= 0), default=len(name))].rpartition("/")[0]
        list(client().list_blobs(bucket, prefix=folder, max_results=1, **bounded(_LOOK_SECS)))


def _try_to_write(path: str) -> None:
    bucket, name = split(path.rstrip("/"))
    # In a train_dir it is one of the names that a run may delete.
    blob = client().bucket(bucket).blob(f"{name}/.preflight-{uuid.uuid4().hex[:8]}".lstrip("/"))
    with os_errors(path):
        blob.upload_from_string(b"", **bounded(_LOOK_SECS))
        blob.delete(**bounded(_LOOK_SECS))


@contextlib.contextmanager
def _told(flag: str, path: str, how: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise UserError(
            f"The bucket of --{flag} does not exist",
            asked=f"--{flag}={path}",
            found=f"no bucket {path.split('/')[2]}",
            change=f"--{flag}, or make it: gcloud storage buckets create gs://{path.split('/')[2]}",
        ) from None
    except PermissionError as error:
        role = "Storage Object User" if how == "written" else "Storage Object Viewer"
        raise UserError(
            f"--{flag} cannot be {how}",
            asked=f"--{flag}={path}",
            found=error.strerror or str(error),
            change="gcloud auth application-default login, or GOOGLE_APPLICATION_CREDENTIALS to a key file"
            if is_anonymous()
            else f"--{flag}, or have its owner give these credentials the role {role} on the bucket",
        ) from None
    except OSError as error:
        if error.errno == errno.EPROTONOSUPPORT:
            raise UserError(
                f"--{flag} cannot be reached",
                asked=f"--{flag}={path}",
                found=error.strerror or str(error),
                change=f"--{flag} to a local path or to gs://bucket/…",
            ) from None
        raise InfrastructureError(
            f"--{flag} cannot be reached",
            asked=f"--{flag}={path}",
            found=f"{error.strerror or error}, tried for {_LOOK_SECS:g} s",
            change="look at the network of this machine; then the same command again",
        ) from error
