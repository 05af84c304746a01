"""Runs training, strikes one role, and tells what came of it: the cells of the table in test_chaos.py."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from estimators.checkpoints.checkpoint_files import evaluated_steps, latest_checkpoint
from tests.integration.commands import Finished, roles_left_behind, roles_with, running_command
from tests.integration.ray_nodes import RayNodes
from tests.integration.shards import good_records, write_shard

# Names a folder: in a role for which there is a file of its name, as "worker-0", the next step raises an error.
FOLDER = "CVD_CHAOS_FOLDER"
# A file in that folder: from then on steps take no rest.
HURRY = "hurry"
STRATEGIES = {
    "parameter_server": ("--num_workers=2", "--num_parameter_servers=1"),
    "multi_worker_mirrored": ("--num_workers=2",),
}
# Steps: before the blow, of the whole run, and between two checkpoints.
_STRUCK_AT = 60
_MAX_STEPS = {"parameter_server": 1200, "multi_worker_mirrored": 400}
_SAVE_EVERY = 25
NUM_WORKERS = 2
# Far over what a quiet machine needs: a test must end, not measure.
_PATIENCE = 600.0
_STEP_LINE = re.compile(r"training step (\d+) ")


@dataclass(frozen=True)
class Cell:
    """One cell of the table.

    Attributes:
      strategy: of the run.
      role: "chief-0", "worker-0", "ps-0" or "evaluator-0".
      blow: "SIGKILL", "SIGSTOP", "error" (a Python error of the user's code), "actor" (its Ray actor is killed) or
        "raylet" (the Ray of its node is), or "preemption" (the same, announced to Ray).
    """

    strategy: str
    role: str
    blow: str

    def __str__(self) -> str:
        return f"{self.strategy}-{self.role}-{self.blow}"

    @property
    def takes_node(self) -> bool:
        """True if a node is lost by it."""
        return self.blow in ("raylet", "preemption")

    @property
    def max_steps(self) -> int:
        """At which the run ends; roles that Ray has lost sight of train on until it notices that, after 15 s."""
        return _MAX_STEPS[self.strategy] * (3 if self.takes_node else 1)


@dataclass
class Outcome:
    """What came of a blow.

    Attributes:
      cell: see Cell.
      train_dir: of the run.
      code: exit code of the command.
      pid: of the TensorFlow process that was struck.
      struck_at: seconds since the epoch.
      ended_at: the same, of the command.
      lines: each line with the time at which it came.
      left_behind: command lines of what lived on.
    """

    cell: Cell
    train_dir: Path
    code: int = -1
    pid: int = -1
    struck_at: float = 0.0
    ended_at: float = 0.0
    lines: list[tuple[float, str]] = field(default_factory=list)
    left_behind: list[str] = field(default_factory=list)

    @property
    def output(self) -> str:
        """What the command printed."""
        return "\n".join(line for _, line in self.lines)

    def events(self, *kinds: str) -> list[dict[str, Any]]:
        """The events of these kinds; all without any."""
        path = self.train_dir / "events.jsonl"
        rows = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
        return [row for row in rows if not kinds or row["event"] in kinds]

    @property
    def state(self) -> str:
        """The state of the run."""
        return str(json.loads((self.train_dir / "run_state.json").read_text())["state"])

    @property
    def last_step(self) -> int:
        """Of the last checkpoint."""
        latest = latest_checkpoint(str(self.train_dir))
        assert latest is not None
        return latest.step

    @property
    def evaluated(self) -> set[int]:
        """Steps whose checkpoints are evaluated."""
        return evaluated_steps(str(self.train_dir))

    def _steps(self) -> list[tuple[float, int]]:
        return [(at, int(match[1])) for at, line in self.lines if (match := _STEP_LINE.match(line))]

    def _noticed_at(self) -> float:
        """When the command told of it, or began a new generation; the lines that come later are of steps made later.

        What the old generation made until its end is told as late as that.
        """
        later = [(at, line) for at, line in self.lines if at > self.struck_at]
        told = [at for at, line in later if "generation started" in line]
        told += [at for at, line in later if re.search(r"process ended|hang:", line)]
        return told[0] if told else self.struck_at

    def seconds_to_next_step(self) -> float | None:
        """From the blow to the next training step, of the struck role if others went on; None if there was none."""
        name = self.cell.role.rpartition("-")[0]
        first = [row["time"] for row in self.of_victim("first_step") if row["pid"] != self.pid]
        after = [at for at, _ in self._steps() if at > self._noticed_at()]
        times = first if name == "worker" and first else after
        return min(times) - self.struck_at if times and name != "evaluator" else None

    def goes_on(self) -> bool:
        """True once the struck role is back and, unless it makes none, steps are made again."""
        started = self.of_victim("process_started")
        is_back = any(row["pid"] != self.pid for row in started if row["time"] > self.struck_at)
        return is_back and (self.cell.role == "evaluator-0" or self.seconds_to_next_step() is not None)

    def of_victim(self, *kinds: str) -> list[dict[str, Any]]:
        """The events of the role that is struck."""
        name, _, index = self.cell.role.rpartition("-")
        return [row for row in self.events(*kinds) if row["role"] == name and row["index"] == int(index)]

    def steps_lost(self) -> int:
        """How many steps were made again."""
        before = [step for at, step in self._steps() if at <= self._noticed_at()]
        after = [step for at, step in self._steps() if at > self._noticed_at()]
        return max(0, before[-1] - after[0] + 1) if before and after else 0


def run_cell(cell: Cell, folder: Path, *flags: str, nodes: RayNodes | None = None, replaced: bool = True) -> Outcome:
    """Runs training until it ends, with a blow in the middle.

    Args:
      cell: what to do.
      folder: an empty one.
      flags: more of them for the command.
      nodes: the cluster to run on; None has the command start its own. Needed for "raylet" and "preemption".
      replaced: whether another node comes for one that is lost.
    """
    data, errors = folder / "train", folder / "errors"
    write_shard(data, good_records(64))
    errors.mkdir()
    outcome = Outcome(cell, folder / "run")
    all_flags = (
        f"--train_data_pattern={data}",
        f"--eval_data_pattern={data}",
        f"--train_dir={outcome.train_dir}",
        "--model=tests.integration.chaos_models:SlowModel",
        "--batch_size=4",
        "--log_every_n_steps=1",
        f"--max_steps={cell.max_steps}",
        f"--save_checkpoints_steps={_SAVE_EVERY}",
        # A machine that stands still for a while must not look like a hang where none is made.
        f"--hang_timeout_secs={10 if cell.blow == 'SIGSTOP' else 60}",
        f"--strategy={cell.strategy}",
        *STRATEGIES[cell.strategy],
        *(("--placement_timeout_secs=60",) if nodes else ()),
        *flags,
    )
    env = {FOLDER: str(errors), **(nodes.environment if nodes else {})}
    with running_command("launch.train", *all_flags, env=env) as (process, mark):
        reader = threading.Thread(target=_read, args=(process, outcome.lines), daemon=True)
        reader.start()
        with _ended_after(process, _PATIENCE):
            _wait_until(lambda: process.poll() is not None or _is_in_full_swing(outcome))
            if process.poll() is None:
                _strike(outcome, errors, nodes, mark=nodes.mark if nodes else mark)
                if nodes and replaced:
                    nodes.add(2)  # what an autoscaler does, or the person whose machine it is
                # The rest of the run shows no more than that it comes to its end.
                _wait_until(lambda: process.poll() is not None or outcome.goes_on())
                (errors / HURRY).touch()
            outcome.code, outcome.ended_at = process.wait(), time.time()
        reader.join(10)
        # A role whose node is out of reach ends itself after --orphan_timeout_secs.
        roles = roles_left_behind(nodes.mark, patience=30.0) if nodes else []
        outcome.left_behind = Finished(0, "", mark).left_behind() + roles
    return outcome


def _read(process: subprocess.Popen[str], lines: list[tuple[float, str]]) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        lines.append((time.time(), line.rstrip("\n")))


@contextlib.contextmanager
def _ended_after(process: subprocess.Popen[str], seconds: float) -> Iterator[None]:
    timer = threading.Timer(seconds, process.kill)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _wait_until(reached: Callable[[], bool]) -> None:
    while not reached():
        time.sleep(0.05)


def _is_in_full_swing(outcome: Outcome) -> bool:
    """All that train have begun, there is a checkpoint to lose steps against, and an evaluator to be struck works."""
    steps = outcome._steps()
    begun = {row["role"] for row in outcome.events("first_step")}
    if outcome.cell.role == "evaluator-0" and not any("[evaluator-0] epoch/eval" in line for _, line in outcome.lines):
        return False
    return bool(steps) and steps[-1][1] >= _STRUCK_AT and {"chief", "worker"} <= begun


def _strike(outcome: Outcome, errors: Path, nodes: RayNodes | None, *, mark: str) -> None:
    victim = outcome.of_victim("process_started")[-1]
    assert victim["pid"] in roles_with(mark), "if no role is seen now, it says nothing that none is seen in the end"
    outcome.pid, outcome.struck_at = victim["pid"], time.time()
    match outcome.cell.blow:
        case "SIGKILL":
            os.kill(outcome.pid, signal.SIGKILL)
        case "SIGSTOP":
            os.kill(outcome.pid, signal.SIGSTOP)
        case "actor":
            psutil.Process(outcome.pid).parent().kill()
        case "error":
            (errors / outcome.cell.role).touch()
        case "raylet":
            assert nodes is not None
            nodes.kill_raylet(victim["host"])
        case "preemption":
            assert nodes is not None
            nodes.announce_preemption(victim["host"])
            nodes.kill_raylet(victim["host"])
        case other:
            raise ValueError(other)
