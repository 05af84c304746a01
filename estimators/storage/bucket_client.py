"""Google's client for Cloud Storage: made once a process, with bounded waits, and its errors told as OSErrors.

It finds credentials where TensorFlow finds them: GOOGLE_APPLICATION_CREDENTIALS, `gcloud auth application-default
login`, a machine of Google's. Without any it asks as anybody may, which is enough for public data. With
STORAGE_EMULATOR_HOST it speaks to an emulator.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import warnings
from collections.abc import Iterator
from typing import Any

# Of one request without an answer; and of all its repetitions, while a store is not to be reached.
REQUEST_SECS = 30.0
RETRY_SECS = 120.0


def split(path: str) -> tuple[str, str]:
    """The bucket and the object's name in `gs://bucket/name`.

    Raises:
      OSError: it has another scheme, or no bucket, or one of a name that there cannot be.
    """
    scheme, _, rest = path.partition("://")
    bucket, _, name = rest.partition("/")
    if scheme != "gs" or not bucket:
        raise OSError(errno.EPROTONOSUPPORT, "only local paths and gs://bucket/… are supported", path)
    if not (bucket[0].isalnum() and bucket[-1].isalnum()):  # Google's client raises a ValueError
        raise OSError(errno.EINVAL, f"{bucket} is no bucket's name, which begins and ends with a letter or digit", path)
    return bucket, name


@functools.lru_cache(maxsize=1)
def _google_cloud_storage() -> Any:
    with warnings.catch_warnings():
        # Which Python it will leave behind in a year is no news for users of TensorFlow 2.15.
        warnings.simplefilter("ignore", FutureWarning)
        from google.cloud import storage
    return storage


@functools.lru_cache(maxsize=8)
def _client_of(process: int, emulator: str | None) -> Any:
    storage = _google_cloud_storage()
    import google.auth
    from google.auth.credentials import AnonymousCredentials

    if emulator:
        return storage.Client(project="emulated", credentials=AnonymousCredentials())
    try:
        credentials, project = google.auth.default(scopes=storage.Client.SCOPE)
    except google.auth.exceptions.DefaultCredentialsError:
        # Nor are there any for TensorFlow, which would look for Google's machine again, for minutes.
        os.environ.setdefault("NO_GCE_CHECK", "true")
        return storage.Client(project="none", credentials=AnonymousCredentials())
    return storage.Client(project=project or "none", credentials=credentials)


def client() -> Any:
    """The `google.cloud.storage.Client` of this process; its connections do not survive a fork."""
    return _client_of(os.getpid(), os.environ.get("STORAGE_EMULATOR_HOST"))


def is_anonymous() -> bool:
    """True if no credentials were found."""
    return type(client()._credentials).__name__ == "AnonymousCredentials"


def bounded(secs: float = RETRY_SECS) -> dict[str, Any]:
    """Keyword arguments of a request to Cloud Storage, for how long it is tried again."""
    _google_cloud_storage()
    from google.cloud.storage.retry import DEFAULT_RETRY

    return {"timeout": min(REQUEST_SECS, secs), "retry": DEFAULT_RETRY.with_timeout(secs)}


@contextlib.contextmanager
def os_errors(path: str) -> Iterator[None]:
    """Has what goes wrong in the block look as it does with a local file.

    Raises:
      FileNotFoundError: there is no such object or bucket.
      PermissionError: Google refuses.
      OSError: it was written anew while it was read, ESTALE; what is asked makes no sense there, EINVAL; all else, e.g.
        that the store cannot be reached, EIO.
    """
    _google_cloud_storage()
    import google.auth.exceptions
    import requests
    from google.api_core import exceptions
    from google.cloud.storage.exceptions import DataCorruption, InvalidResponse

    try:
        yield
    except exceptions.NotFound as error:
        raise FileNotFoundError(errno.ENOENT, "no such object or bucket", path) from error
    except (exceptions.Forbidden, exceptions.Unauthorized) as error:
        who = "it was asked without credentials, since none were found" if is_anonymous() else _first_line(error)
        raise PermissionError(errno.EACCES, f"permission denied by Cloud Storage ({who})", path) from error
    except exceptions.PreconditionFailed as error:
        raise written_anew(path) from error
    except exceptions.BadRequest as error:
        raise OSError(errno.EINVAL, f"Cloud Storage refuses it ({_first_line(error)})", path) from error
    except google.auth.exceptions.RefreshError as error:
        raise PermissionError(errno.EACCES, f"the credentials are refused ({_first_line(error)})", path) from error
    except (
        exceptions.GoogleAPIError,
        google.auth.exceptions.GoogleAuthError,
        requests.RequestException,
        DataCorruption,
        InvalidResponse,
    ) as error:
        raise OSError(errno.EIO, f"Cloud Storage does not serve it ({_first_line(error)})", path) from error


def written_anew(path: str) -> OSError:
    """The error for one who reads an object that is another one now."""
    return OSError(errno.ESTALE, "it was written anew while it was read", path)


def _first_line(error: Exception) -> str:
    return (str(getattr(error, "message", "") or error).strip().splitlines() or ["no reason given"])[0][:200]
