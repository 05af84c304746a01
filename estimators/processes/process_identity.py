"""Which process it is that began something, so that others can tell later whether it still lives."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from pathlib import Path

_ZOMBIE = "Z"


@dataclass(frozen=True)
class ProcessIdentity:
    """A process, told apart from all others that ever had its number.

    Attributes:
      host: the machine's or container's name.
      place: where its number means something: one boot of one machine, and a namespace of process ids in it.
      pid: its number there.
      started_ticks: clock ticks since the machine's boot, when it began. (A time of the day would be another one after
        the clock was set.)
    """

    host: str
    place: str
    pid: int
    started_ticks: int

    @property
    def is_here(self) -> bool:
        """True if its number means something to this process too."""
        return self.place == this_place()

    @property
    def is_gone(self) -> bool | None:
        """Whether it has ended; None if that cannot be known, since it is elsewhere."""
        if not self.is_here:
            return None
        try:
            state, started = _state_and_start(self.pid)
        except (FileNotFoundError, ProcessLookupError):
            return True
        except OSError:
            return False
        return started != self.started_ticks or state == _ZOMBIE  # another one may have got its number

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"


def this_process() -> ProcessIdentity:
    """The process that asks."""
    return process_here(os.getpid())


def process_here(pid: int) -> ProcessIdentity:
    """The process that has this number now."""
    return ProcessIdentity(socket.gethostname(), this_place(), pid, _state_and_start(pid)[1])


def _state_and_start(pid: int) -> tuple[str, int]:
    """Fields 3 and 22 of proc_pid_stat(5); the second, its name, may hold blanks and parentheses."""
    fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    return fields[0], int(fields[19])


def this_place() -> str:
    """Where the calling process's number means something: one boot of one machine, and a namespace of process ids."""
    try:
        return f"{Path('/proc/sys/kernel/random/boot_id').read_text().strip()} {os.readlink('/proc/self/ns/pid')}"
    except OSError:  # a container may hide them
        return socket.gethostname()
