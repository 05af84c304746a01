"""What is printed never ends a run: its console may be gone for hours before anybody notices."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import stat
import sys
from typing import TextIO


class _LastingText(io.TextIOWrapper):
    """Text that is dropped where it cannot be written, since a disk is full, say; tried again each time."""

    def write(self, text: str) -> int:
        try:
            return super().write(text)
        except OSError as error:
            self._take(error)
            return len(text)

    def flush(self) -> None:
        try:
            super().flush()
        except OSError as error:
            self._take(error)

    def _take(self, error: OSError) -> None:
        # Nobody reads it any more: the reader of a pipe ended; or, under `nohup`, a terminal was closed. Of a file EIO
        # tells that its disk or mount fails, and may be mended.
        is_file = stat.S_ISREG(os.fstat(self.fileno()).st_mode)
        if error.errno == errno.EPIPE or (error.errno == errno.EIO and not is_file):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self.fileno())
            os.close(nowhere)


def keep_running_without_console() -> None:
    """Lets stdout and stderr of this process fail without a word, from now on."""
    sys.stdout, sys.stderr = _lasting(sys.stdout), _lasting(sys.stderr)


def _lasting(stream: TextIO) -> TextIO:
    # Not what took its place, a test's.
    if stream not in (sys.__stdout__, sys.__stderr__) or not isinstance(stream, io.TextIOWrapper):
        return stream
    with contextlib.suppress(OSError):
        stream.flush()
    # A descriptor of its own: whoever holds the old stream, a logger say, still has it.
    copy = open(os.dup(stream.fileno()), "wb")  # noqa: SIM115 - for as long as the process lives
    errors = "backslashreplace" if stream.errors == "strict" else stream.errors  # a console may know ASCII alone
    return _LastingText(copy, encoding=stream.encoding, errors=errors, line_buffering=True)
