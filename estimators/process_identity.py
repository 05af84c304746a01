"""Which process it is that began something, so that others can tell later whether it still lives."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from pathlib import Path

import psutil


@dataclass(frozen=True)
class ProcessIdentity:
    """A process, told apart from all others that ever had its number.

    Attributes:
      host: the machine's or container's name.
      place: where its number means something: one boot of one machine, and a namespace of process ids in it.
      pid: its number there.
      started: seconds since the epoch, when it began.
    """

    host: str
    place: str
    pid: int
    started: float

    @property
    def is_here(self) -> bool:
        """True if its number means something to this process too."""
        return self.place == _this_place()

    @property
    def is_gone(self) -> bool | None:
        """Whether it has ended; None if that cannot be known, since it is elsewhere."""
        if not self.is_here:
            return None
        try:
            process = psutil.Process(self.pid)
            # Another one may have got its number. Both times are read from the same clock, so they agree to the tick.
            return bool(abs(process.create_time() - self.started) > 1.0 or process.status() == psutil.STATUS_ZOMBIE)
        except psutil.NoSuchProcess:
            return True
        except psutil.Error:
            return False

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"


def this_process() -> ProcessIdentity:
    """The process that asks."""
    return ProcessIdentity(socket.gethostname(), _this_place(), os.getpid(), psutil.Process().create_time())


def _this_place() -> str:
    try:
        return f"{Path('/proc/sys/kernel/random/boot_id').read_text().strip()} {os.readlink('/proc/self/ns/pid')}"
    except OSError:  # a container may hide them
        return socket.gethostname()
