"""What a role's actor says of its TensorFlow process: one frozen value, picklable."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class RolePhase(enum.Enum):
    """Where a role's TensorFlow process is."""

    STARTING = "STARTING"
    """It imports TensorFlow, builds its graph, or waits for the others."""
    TRAINING = "TRAINING"
    """It made a step (a ps or an evaluator never gets here)."""
    DONE = "DONE"
    """Terminal: it ended as it should."""
    FAILED = "FAILED"
    """Terminal: it ended with a Python error; see `failure`."""
    LOST = "LOST"
    """Terminal: it ended without a word: a signal, or out of memory."""

    @property
    def is_terminal(self) -> bool:
        """True if the process is gone."""
        return self in (RolePhase.DONE, RolePhase.FAILED, RolePhase.LOST)


@dataclass(frozen=True)
class RoleFailure:
    """A Python error of a role's process.

    Attributes:
      kind: the class of the error.
      message: str(error), or the summary of an error of the harness.
      parts: asked, found and change of an error of the harness; None for any other.
      traceback: as Python prints it.
      is_echo: True if it follows from another role's end (a peer that cannot be reached), and so explains nothing.
      time: seconds since the epoch.
    """

    kind: str
    message: str
    parts: tuple[str, str, str] | None
    traceback: str
    is_echo: bool
    time: float


@dataclass(frozen=True)
class RoleStatus:
    """A snapshot of one role.

    Attributes:
      name: `worker-0`.
      phase: see RolePhase.
      pid: of the TensorFlow process, on its own node.
      address: "host:port" of its TensorFlow server.
      global_step: the last step it saw; -1 before it saw one.
      local_steps: steps it made itself.
      first_step_time: seconds since the epoch, when it made its first step; None before.
      training_finished: the chief only: the last checkpoint is saved and exported.
      exit_code: of the process; None while it runs; -N if signal N ended it.
      failure: the Python error, if there was one.
      lines: what it said since the last snapshot.
    """

    name: str
    phase: RolePhase
    pid: int
    address: str
    global_step: int
    local_steps: int
    first_step_time: float | None
    training_finished: bool
    exit_code: int | None
    failure: RoleFailure | None
    lines: tuple[str, ...]
