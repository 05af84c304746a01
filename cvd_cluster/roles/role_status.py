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
    """Terminal: it ended without a word: a signal, or out of memory, or by order; or its actor is gone, see `loss`."""

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
      is_tensorflows: True for an error of TensorFlow's runtime: after another role's end it may follow from that.
      time: seconds since the epoch.
    """

    kind: str
    message: str
    parts: tuple[str, str, str] | None
    traceback: str
    is_echo: bool
    is_tensorflows: bool
    time: float


@dataclass(frozen=True)
class ActorLoss:
    """The end of a role's actor, with its process or its node.

    Attributes:
      cause: one line for people.
      preempted: True if Ray had announced that it takes the node away.
      gone_at: from which moment on its TensorFlow process is gone too, by the command's `time.monotonic`. On a node
        that is out of reach it may live on until it notices that nobody asks for it.
    """

    cause: str
    preempted: bool
    gone_at: float


@dataclass(frozen=True)
class RoleStatus:
    """A snapshot of one role.

    Attributes:
      name: `worker-0`.
      phase: see RolePhase.
      generation: of the run, to which the process belongs.
      pid: of the TensorFlow process, on its own node; -1 before there is one.
      address: "host:port" of its TensorFlow server.
      global_step: the last step it saw; -1 before it saw one.
      local_steps: steps the process made itself; of an evaluator, signs of life that it gave.
      first_step_time: seconds since the epoch, when it made its first step; None before.
      training_finished: the chief only: the last checkpoint is saved and exported.
      halted: True while the process is stopped by a signal (SIGSTOP), and so makes no step.
      exit_code: of the process; None while it runs; -N if signal N ended it.
      ended_by_command: whether it ran until the command had it ended.
      failure: the Python error, if there was one.
      loss: what happened to its actor, if that is gone.
      awaits_node: whether its actor has not begun for so long that there must be no room for it.
      lines: what it said since the last snapshot.
    """

    name: str
    phase: RolePhase = RolePhase.STARTING
    generation: int = 0
    pid: int = -1
    address: str = ""
    global_step: int = -1
    local_steps: int = 0
    first_step_time: float | None = None
    training_finished: bool = False
    halted: bool = False
    exit_code: int | None = None
    ended_by_command: bool = False
    failure: RoleFailure | None = None
    loss: ActorLoss | None = None
    awaits_node: bool = False
    lines: tuple[str, ...] = ()

    @property
    def host(self) -> str:
        """The address of its node; "" before it is known."""
        return self.address.rpartition(":")[0].strip("[]")
