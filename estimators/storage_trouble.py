"""A disk that is full, read-only or gone, told as such instead of as TensorFlow's or Python's error."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator

from estimators import storage
from estimators.errors import HarnessError, InfrastructureError

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_UNWRITABLE = (errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO)
_GONE = (errno.ENOENT, errno.ENOTDIR, errno.ESTALE, errno.ENOTCONN)


@contextlib.contextmanager
def storage_trouble_told(train_dir: str, *, when_full: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Around what writes to `train_dir`.

    Args:
      train_dir: the folder.
      when_full: called when a disk is full, to give back the room of what is half written.

    Raises:
      InfrastructureError: something could not be written, and the reason lies in the disk or folder.
    """
    try:
        yield
    except HarnessError:
        raise
    except Exception as error:
        numbers, path = _causes(error)
        told = _told(train_dir, error, numbers, path)
        if told is None:
            raise
        if _is_of(numbers, _FULL):
            when_full()
        raise told from error


def _told(train_dir: str, error: Exception, numbers: set[int], path: str | None) -> InfrastructureError | None:
    if (_is_of(numbers, _GONE) or isinstance(error, ValueError)) and not storage.exists(train_dir):
        # With a ValueError TensorFlow's Saver says that there is no folder to save in.
        return _error(train_dir, train_dir, "is gone", os.strerror(errno.ENOENT))
    for known, what in ((_FULL, "is full"), (_UNWRITABLE, "cannot be written")):
        if found := _is_of(numbers, known):
            return _error(train_dir, path or train_dir, what, os.strerror(found))
    return None


def _is_of(numbers: set[int], known: tuple[int, ...]) -> int | None:
    return next((number for number in known if number in numbers), None)


def _causes(error: Exception) -> tuple[set[int], str | None]:
    """The numbers of the system's errors that an error stands for, and the path that it names."""
    if isinstance(error, OSError):
        return {error.errno or 0}, os.fsdecode(error.filename) if isinstance(error.filename, str | bytes) else None
    # Without TensorFlow in this process the error is not one of TensorFlow's.
    if "tensorflow" not in sys.modules or not isinstance(error, sys.modules["tensorflow"].errors.OpError):
        return set(), None
    # TensorFlow has a code for some of them, but what the system said always stands behind "<path>; ".
    text = str(error)
    if in_bucket := re.search(r"gs://\S+", text):
        refused = isinstance(error, sys.modules["tensorflow"].errors.PermissionDeniedError)
        return {errno.EACCES if refused else errno.EIO}, in_bucket[0]
    numbers = {number for number in (*_FULL, *_UNWRITABLE, *_GONE) if f"; {os.strerror(number)}" in text}
    reasons = "|".join(re.escape(os.strerror(number)) for number in numbers)
    match = re.search(rf"(\S+); (?:{reasons})", text) if numbers else None
    return numbers, match[1] if match else None


def _error(train_dir: str, path: str, what: str, reason: str) -> InfrastructureError:
    inside = storage.is_remote(train_dir) or storage.is_inside(path, train_dir)
    room = ""
    with contextlib.suppress(OSError):
        usage = shutil.disk_usage(train_dir if inside else os.path.dirname(path))
        room = f"; {usage.free >> 10} of {usage.total >> 10} KiB are free"
    subject = "--train_dir" if inside else "A disk that this run needs"
    remedy = {
        "is full": "make room there, or lower --keep_checkpoint_max",
        "cannot be written": "look at its permissions and its mount",
        "is gone": "bring the folder back (a mount that was lost?)",
    }[what]
    return InfrastructureError(
        f"{subject} {what}, so the run ends here",
        asked=f"--train_dir={train_dir}",
        found=f"{path}: {reason}{room}",
        change=f"{remedy}; then the same command, without --start_new_model, goes on from the newest checkpoint",
    )
