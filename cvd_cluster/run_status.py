"""The status of a training run, out of the files in its train_dir alone: while it runs, and long after."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cvd_cluster.supervision.event_log import EVENTS_FILE, EventKind
from estimators import storage
from estimators.checkpoints.checkpoint_files import Checkpoint, latest_checkpoint, read_metrics
from estimators.processes.process_identity import ProcessIdentity
from estimators.train_dir.experiment_file import read_experiment
from estimators.train_dir.exports import exported_steps
from estimators.train_dir.run_state import RunRecord, looked_at_again, read_run_state
from estimators.train_dir.train_dir_holder import Holder, read_holder
from estimators.train_dir.training_progress import TrainingProgress, read_progress

KILLED = "KILLED"
NOT_BEGUN = "NOT BEGUN"


@dataclass(frozen=True)
class RoleLine:
    """One role as the events tell of it.

    Attributes:
      name: `worker-0`.
      host: address of its node.
      pid: of its TensorFlow process there.
      generation: in which it runs or ran.
      restarts: how often it got a new process in place of one that was gone.
      state: "runs", or how it ended.
    """

    name: str
    host: str | None
    pid: int | None
    generation: int
    restarts: int
    state: str


@dataclass(frozen=True)
class RunStatus:
    """A run at one moment; all times in seconds since the epoch.

    Attributes:
      train_dir: the folder.
      model: class of the model.
      state: a RunState; KILLED if the run says that it goes on and its process is gone; NOT BEGUN.
      process: of the command; None before a run began.
      since: when the run took the folder; None once it ended.
      step: that training reached.
      max_steps: at which it ends; None before a run began.
      examples_per_second: over all replicas; None if nothing was reported.
      generation: of the processes that train; 0 where nothing is supervised.
      new_generations: that this run began after its first, since something was lost.
      restarts: of single processes in this run.
      roles: of a distributed run.
      last_event: what happened last to its processes.
      training: the batch that was reported last.
      evaluation: of the checkpoint that was evaluated last.
      newest_checkpoint: its step.
      newest_export: its step.
      sign_of_life: when it last showed that it is there.
    """

    train_dir: str
    model: str
    state: str
    process: ProcessIdentity | None
    since: float | None
    step: int
    max_steps: int | None
    examples_per_second: float | None
    generation: int
    new_generations: int
    restarts: int
    roles: tuple[RoleLine, ...]
    last_event: Mapping[str, Any] | None
    training: Mapping[str, float] | None
    evaluation: Mapping[str, Any] | None
    newest_checkpoint: int | None
    newest_export: int | None
    sign_of_life: float | None


def read_status(train_dir: str, announce: Callable[[str], None] = print) -> RunStatus:
    """Reads it; imports neither TensorFlow nor Ray where train_dir is local.

    Args:
      train_dir: the folder.
      announce: called with a line if there is something to wait for.

    Raises:
      UserError: there is no training run.
    """
    options = read_experiment(train_dir)
    record = read_run_state(train_dir)
    record = looked_at_again(train_dir, record, announce) if record else None
    holder = read_holder(train_dir)
    checkpoint, progress = latest_checkpoint(train_dir), read_progress(train_dir)
    events = _events_of_last_run(train_dir)
    return RunStatus(
        train_dir=train_dir,
        model=options.model,
        state=_state(record),
        process=record.process if record else None,
        since=holder.since if holder and record and not record.is_abandoned else None,
        step=_step(checkpoint, progress),
        max_steps=record.max_steps if record else None,
        examples_per_second=progress.examples_per_second if progress else None,
        generation=max((event["generation"] for event in events), default=0),
        new_generations=max(0, _count(events, EventKind.GENERATION_STARTED) - 1),
        restarts=_count(events, EventKind.PROCESS_RESTARTED),
        roles=_roles(events),
        last_event=events[-1] if events else None,
        training=progress.metrics if progress else None,
        evaluation=next(reversed(read_metrics(train_dir)), None),
        newest_checkpoint=checkpoint.step if checkpoint else None,
        newest_export=max(exported_steps(train_dir), default=None),
        sign_of_life=_sign_of_life(record, holder, progress, checkpoint, events),
    )


def _count(events: Sequence[Mapping[str, Any]], kind: EventKind) -> int:
    return sum(event["event"] == kind.value for event in events)


def _state(record: RunRecord | None) -> str:
    if record is None:
        return NOT_BEGUN
    return KILLED if record.is_abandoned else record.state.value


def _step(checkpoint: Checkpoint | None, progress: TrainingProgress | None) -> int:
    """A checkpoint that is newer than the last report is further, or what an older one was continued from."""
    if checkpoint is None or progress is None:
        return progress.global_step if progress else checkpoint.step if checkpoint else 0
    return checkpoint.step if _written(checkpoint) > progress.time else progress.global_step


def _written(checkpoint: Checkpoint) -> float:
    return storage.modified_ns(checkpoint.prefix + ".index") / 1e9


def _sign_of_life(
    record: RunRecord | None,
    holder: Holder | None,
    progress: TrainingProgress | None,
    checkpoint: Checkpoint | None,
    events: Sequence[Mapping[str, Any]],
) -> float | None:
    times = [record.time] if record else []
    times += [holder.beat] if holder else []
    times += [progress.time] if progress else []
    times += [_written(checkpoint)] if checkpoint else []
    times += [events[-1]["time"]] if events else []
    return max(times, default=None)


def _events_of_last_run(train_dir: str) -> list[dict[str, Any]]:
    """What happened since the run before the last one ended, oldest first."""
    path = os.path.join(train_dir, EVENTS_FILE)
    events: list[dict[str, Any]] = []
    if not storage.exists(path):
        return events
    for line in storage.read_text(path).splitlines():
        with contextlib.suppress(ValueError):  # cut off by a kill or a full disk
            event = json.loads(line)
            # One that was killed could not tell of its end; only the first generation of a run has no cause.
            begins = event["event"] == EventKind.GENERATION_STARTED.value and not event["cause"]
            if begins or (events and events[-1]["event"] == EventKind.RUN_ENDED.value):
                events = []
            events.append(event)
    return events


def _roles(events: Sequence[Mapping[str, Any]]) -> tuple[RoleLine, ...]:
    last: dict[str, Mapping[str, Any]] = {}
    ends: dict[str, str] = {}
    restarts: dict[str, int] = {}
    for event in events:
        if event["role"] is None:
            continue
        name = f"{event['role']}-{event['index']}"
        last[name] = event
        if event["event"] == EventKind.PROCESS_STARTED.value:
            ends.pop(name, None)
        elif event["event"] == EventKind.PROCESS_ENDED.value:
            ends[name] = event["cause"] or "done"
        elif event["event"] == EventKind.PROCESS_RESTARTED.value:
            restarts[name] = restarts.get(name, 0) + 1
    over = bool(events) and events[-1]["event"] == EventKind.RUN_ENDED.value
    return tuple(
        RoleLine(
            name,
            event["host"],
            event["pid"],
            event["generation"],
            restarts.get(name, 0),
            ends.get(name, "ended with the run" if over else "runs"),
        )
        for name, event in last.items()
    )
