"""The status of a run for people, as lines, and for machines, as one JSON object."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from cvd_cluster.run_status import KILLED, RunStatus, read_status
from estimators.options import Options, option
from estimators.storage.access import check_access


@dataclass(frozen=True, kw_only=True)
class StatusOptions(Options):
    """Options of `launch.status`."""

    train_dir: str = option(group="status", help="folder of the training run")
    json: bool = option(False, group="status", help="print one JSON object; times are in seconds since the epoch")


def print_status(options: StatusOptions, *, announce: Callable[[str], None] = print) -> None:
    """Prints the status of a run, which it leaves alone.

    Raises:
      UserError: there is no training run in train_dir.
    """
    check_access(read={"train_dir": options.train_dir})
    # Not where the JSON goes.
    status = read_status(options.train_dir, lambda line: print(line, file=sys.stderr, flush=True))
    if options.json:
        announce(json.dumps(asdict(status)))
        return
    for line in status_lines(status):
        announce(line)


def status_lines(status: RunStatus, *, now: float | None = None) -> list[str]:
    """The status as lines for people.

    Args:
      status: to show.
      now: seconds since the epoch; None is the clock's.
    """
    now = time.time() if now is None else now
    rows = {"run": f"{status.train_dir}, {status.model}", "state": _shown_state(status, now)}
    if status.max_steps is not None:
        share = f" ({100 * min(status.step, status.max_steps) // status.max_steps} %)"
        rows["step"] = f"{status.step} of {status.max_steps}{share}"
    if status.examples_per_second is not None:
        rows["speed"] = f"{status.examples_per_second:.1f} examples/s"
    if status.generation:
        rows["processes"] = (
            f"generation {status.generation}; in this run {status.new_generations} new generations and "
            f"{status.restarts} restarts in place"
        )
    if status.newest_checkpoint is not None:
        rows["checkpoint"] = f"of step {status.newest_checkpoint}" + (
            f"; exported step {status.newest_export}" if status.newest_export is not None else ""
        )
    if status.training:
        rows["last batch"] = _numbers(status.training)
    if status.evaluation:
        rows["evaluation"] = f"of step {status.evaluation['global_step']}: " + _numbers(
            {name: value for name, value in status.evaluation.items() if name not in ("global_step", "time")}
        )
    if status.last_event:
        event = status.last_event
        who = f" of {event['role']}-{event['index']}" if event["role"] is not None else ""
        what = event["event"].replace("_", " ") + who + (f": {event['cause']}" if event["cause"] else "")
        rows["last event"] = f"{_ago(now - event['time'])}: {what}"
    if status.sign_of_life is not None:
        rows["sign of life"] = _ago(now - status.sign_of_life)
    width = max(map(len, rows))
    lines = [f"{name.ljust(width)}  {text}" for name, text in rows.items()]
    return lines + [
        f"{role.name.ljust(width)}  process {role.pid} on {role.host}, generation {role.generation}"
        + (f", restarted {role.restarts} times" if role.restarts else "")
        + f": {role.state}"
        for role in status.roles
    ]


def _shown_state(status: RunStatus, now: float) -> str:
    if status.state == KILLED:
        return f"{KILLED}: {status.process} is gone; the same command, without --start_new_model, goes on"
    if status.since is not None:
        return f"{status.state}: {status.process}, for {_duration(now - status.since)}"
    return status.state


def _numbers(values: Mapping[str, Any]) -> str:
    return ", ".join(
        f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}" for name, value in values.items()
    )


def _ago(seconds: float) -> str:
    return f"{_duration(seconds)} ago"


def _duration(seconds: float) -> str:
    seconds = max(0.0, seconds)
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
