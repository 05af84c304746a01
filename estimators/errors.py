"""The errors a person is meant to read, and the exit code of each.

    HarnessError                    1  something the harness itself did not expect
    ├── UserError                   2  what was asked cannot be done as asked: a flag, a class, a folder
    │   ├── DataError               2  a data file or a record in it is damaged or is not what it should be
    │   └── InfeasibleError         4  the machine or the cluster can never hold what was asked
    ├── InfrastructureError         3  a process, a node, a disk or Ray failed, and restarting is over
    └── StoppedError              143  SIGTERM asked for the end
        └── InterruptedRunError   130  Ctrl-C did

Every message has the same parts: what was asked, what was found, what to change (the flag by its name).
All survive pickling, since they travel between Ray's processes.
"""

from __future__ import annotations

from collections.abc import Sequence

_MOST_SHOWN = 300  # characters of what another library says


class HarnessError(Exception):
    """An error with a message for people.

    Args:
      summary: one sentence, without a full stop.
      asked: what the user asked for, with the flag's name and value; "" leaves the line out.
      found: what was there instead, with values; "" leaves the line out.
      change: what to do about it, naming the flag; "" leaves the line out.
    """

    exit_code = 1

    def __init__(self, summary: str, *, asked: str = "", found: str = "", change: str = "") -> None:
        super().__init__(summary)
        self.summary, self.asked, self.found, self.change = summary, asked, found, change

    def __reduce__(self) -> tuple[object, ...]:
        # Exception's own __reduce__ calls cls(*args), which would lose the keyword-only parts.
        return _rebuild, (type(self), self.summary, self.asked, self.found, self.change)

    def __str__(self) -> str:
        parts = (("asked: ", self.asked), ("found: ", self.found), ("change:", self.change))
        return "\n".join([self.summary] + [f"  {name} {text}" for name, text in parts if text])


def one_line(error: object) -> str:
    """What an error of another library says, in one line that is not too long; its class if it says nothing."""
    return " ".join(str(error).split())[:_MOST_SHOWN] or type(error).__name__


def first_of(names: Sequence[str], most: int = 3) -> str:
    """The first few names, and … if there are more."""
    return ", ".join(names[:most]) + (", …" if len(names) > most else "")


def _rebuild(cls: type[HarnessError], summary: str, asked: str, found: str, change: str) -> HarnessError:
    return cls(summary, asked=asked, found=found, change=change)


class UserError(HarnessError):
    """What was asked cannot be done as asked."""

    exit_code = 2


class DataError(UserError):
    """A data file, or a record in it, is damaged or is not what it should be."""


class InfeasibleError(UserError):
    """The machine or the cluster can never hold what was asked."""

    exit_code = 4


class InfrastructureError(HarnessError):
    """A process, a node, a disk or Ray failed, and nothing is left to try."""

    exit_code = 3


class StoppedError(HarnessError):
    """Somebody asked for the end by SIGTERM; all that was done is saved."""

    exit_code = 128 + 15


class InterruptedRunError(StoppedError):
    """Somebody asked for the end by Ctrl-C; all that was done is saved."""

    exit_code = 128 + 2
