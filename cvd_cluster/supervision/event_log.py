"""What happened to a run: `train_dir/events.jsonl`, a JSON object a line, and the same on the console."""

from __future__ import annotations

import enum
import json
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

from estimators import storage
from estimators.train_dir.train_dir_lock import was_lost

EVENTS_FILE = "events.jsonl"


class EventKind(enum.Enum):
    """What can happen."""

    GENERATION_STARTED = "generation_started"
    """All processes that train were started; the cause says why, if it is not the first generation."""
    PROCESS_STARTED = "process_started"
    """A role has a new process."""
    FIRST_STEP = "first_step"
    """It made its first step."""
    PROCESS_ENDED = "process_ended"
    """It is gone; the cause says how, if it is not as it should be."""
    PROCESS_RESTARTED = "process_restarted"
    """A role gets a new process in place of one that is gone; the cause says why."""
    HANG = "hang"
    """A role stands still."""
    STACKS = "stacks"
    """What the threads of a role do was written into its log, or why not."""
    GENERATION_ENDED = "generation_ended"
    """All processes that train are ended; the cause says why."""
    WAITING_FOR_NODES = "waiting_for_nodes"
    """There is no room for all roles."""
    FEWER_WORKERS = "fewer_workers"
    """The run goes on with less workers than were asked for."""
    TRAINING_FINISHED = "training_finished"
    """The chief has saved and exported the last step."""
    EVALUATOR_GIVEN_UP = "evaluator_given_up"
    """The evaluator is not started again; the cause says why. Training goes on."""
    STOP_REQUESTED = "stop_requested"
    """A signal asked for the end."""
    RUN_ENDED = "run_ended"
    """The run is over; the cause is its state, and the error if there was one."""


@dataclass(frozen=True)
class Event:
    """One line of events.jsonl.

    Attributes:
      time: seconds since the epoch.
      event: see EventKind.
      role: "chief", "worker", "ps" or "evaluator"; None for an event of the whole run.
      index: of the task in its role; None likewise.
      generation: in which it happened.
      host: address of the role's node.
      address: "host:port" of its TensorFlow server.
      pid: of its TensorFlow process.
      cause: one line; "" where the event says all.
    """

    time: float
    event: EventKind
    role: str | None
    index: int | None
    generation: int
    host: str | None = None
    address: str | None = None
    pid: int | None = None
    cause: str = ""

    def to_json(self) -> str:
        """The line."""
        return json.dumps({**asdict(self), "event": self.event.value})

    def __str__(self) -> str:
        what = self.event.value.replace("_", " ")
        who = f"{self.role}-{self.index} (generation {self.generation}, process {self.pid} at {self.address})"
        subject = f"generation {self.generation}" if self.role is None else who
        return f"[supervisor] {what}: {subject}" + (f": {self.cause}" if self.cause else "")


class EventLog:
    """Appends each event at once.

    Args:
      train_dir: the folder.
      announce: called with a line for people for each event.
      clock: seconds since the epoch.
    """

    def __init__(
        self, train_dir: str, *, announce: Callable[[str], None], clock: Callable[[], float] = time.time
    ) -> None:
        self._train_dir, self._announce, self._clock = train_dir, announce, clock
        self._path = os.path.join(train_dir, EVENTS_FILE)
        self.generation = 0

    def record(self, event: Event) -> None:
        """One event. A log that cannot be written ends no run; that of another run is left alone."""
        trouble = None
        if not was_lost(self._train_dir):
            try:
                storage.append_line(self._path, event.to_json())
            except OSError as error:
                trouble = error
        self._announce(str(event))
        if trouble:
            self._announce(f"[supervisor] {self._path} cannot be written: {trouble}")

    def of_run(self, kind: EventKind, cause: str = "") -> None:
        """An event of the whole run, in its present generation."""
        self.record(Event(self._clock(), kind, None, None, self.generation, cause=cause))
