"""A child process that never outlives its parent, in a process group that can be ended as one."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from typing import IO

_PR_SET_PDEATHSIG = 1
_PR_SET_PTRACER = 0x59616D61
_EXPECTED_PARENT = "CVD_PARENT_PID"
_LOOK_SECS = 0.05


def child_environment(*, gpus: bool) -> dict[str, str]:
    """The environment of a child that is to find all modules that this process finds.

    Args:
      gpus: False hides all GPUs from it.
    """
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    return env if gpus else {**env, "CUDA_VISIBLE_DEVICES": "-1"}


class ChildProcess:
    """A process in a group (and session) of its own; it must call `die_with_parent` first thing.

    Start it from a thread that lives as long as the parent: the kernel takes the end of the *thread* that started a
    child for the end of the parent (prctl(2), PR_SET_PDEATHSIG).

    Args:
      argv: the command.
      env: its environment.
      output: where stdout and stderr go; None shares this process's.
      pass_fds: file descriptors it inherits.
      stdin: a pipe to write to, if True.
    """

    def __init__(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str],
        output: IO[bytes] | None = None,
        pass_fds: Sequence[int] = (),
        stdin: bool = False,
    ) -> None:
        self._lock = threading.Lock()
        self._process = subprocess.Popen(
            list(argv),
            env={**env, _EXPECTED_PARENT: str(os.getpid())},
            stdin=subprocess.PIPE if stdin else subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT if output else None,
            pass_fds=tuple(pass_fds),
            start_new_session=True,
        )

    @property
    def pid(self) -> int:
        """Its process id, which is its group's too."""
        return self._process.pid

    def write_line(self, text: str) -> None:
        """Writes a line to its stdin; nothing if it is gone."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(text.encode("utf-8") + b"\n")
            self._process.stdin.flush()

    def exit_code(self) -> int | None:
        """None while it runs; -N if signal N ended it. What is left of its group when it has ended is killed."""
        with self._lock:
            if self._process.returncode is None and self._has_ended():
                self._end()
            return self._process.returncode

    def wait(self, seconds: float | None = None) -> int | None:
        """The exit code, or None if it still runs after so many seconds (None waits for ever)."""
        until = None if seconds is None else time.monotonic() + seconds
        while (code := self.exit_code()) is None and (until is None or time.monotonic() < until):
            time.sleep(_LOOK_SECS)
        return code

    def kill(self) -> None:
        """Ends the whole group at once, and waits for it."""
        with self._lock:
            # The look first: it tells whether the number is still the child's.
            if self._process.returncode is None and (self._has_ended() or self._process.returncode is None):
                self._end()

    def _has_ended(self) -> bool:
        try:
            return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
        except ChildProcessError:  # somebody else waited for it, and its number is free
            self._process.wait()
            return False

    def _end(self) -> None:
        # Before it is waited for: until then nobody else gets its number, and later, days later, it may be that of any
        # other group.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait()


def die_with_parent() -> None:
    """To be called first thing in the child: the kernel kills it when its parent ends."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    # The parent may have ended before the line above.
    if os.environ.get(_EXPECTED_PARENT) != str(os.getppid()):
        os._exit(1)


def let_parent_trace() -> None:
    """Lets the parent, and what it starts, look into this process also where Yama lets nobody but ancestors.

    That is Ubuntu's default (ptrace_scope 1, Documentation/admin-guide/LSM/Yama.rst of the kernel). Elsewhere the call
    fails, and is not needed.
    """
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PTRACER, ctypes.c_ulong(os.getppid()), 0, 0, 0)


def outlive_parent() -> None:
    """Undoes `die_with_parent`; to be called in the same thread."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, 0)
