"""What it costs to be looked after: a run that trains, now and then with its command halted, so that nobody looks:

    python -m benchmarks.supervision --train_data_pattern='/data/train/*' [--seconds=10] [--rounds=5]

Steps a second with and without differ by less than the noise of most machines, so the processor time of all processes
of the run but TensorFlow's is counted too: what they take more when the command looks, is not there for training.
"""

from __future__ import annotations

import contextlib
import json
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

if __package__ in (None, ""):  # as `python benchmarks/supervision.py`
    sys.path.insert(0, str(Path(__file__).parents[1]))

from estimators.errors import InfrastructureError
from estimators.options import Options, option
from estimators.train_dir.training_progress import TrainingProgress, read_progress
from launch.flags import parse_flags, run_command
from tests.integration.commands import running_command

_STRATEGIES = {
    "multi_worker_mirrored": ("--num_workers=2",),
    "parameter_server": ("--num_workers=2", "--num_parameter_servers=1"),
}
_START_SECS = 120.0
_SETTLING_SECS = 15.0
_TRAINING, _COMMAND, _ACTORS, _RAY = "TensorFlow's processes", "the command", "the roles' actors", "Ray's processes"


@dataclass(frozen=True, kw_only=True)
class BenchmarkOptions(Options):
    """What to measure on, and for how long."""

    train_data_pattern: str = option(group="benchmark", help="glob of the training TFRecord files; quote it")
    seconds: float = option(10.0, group="benchmark", above=0, help="of training that are looked at at a time")
    rounds: int = option(5, group="benchmark", at_least=1, help="times that a run is looked at, and not")


def _kind(process: psutil.Process, command: psutil.Process) -> str:
    line = " ".join(process.cmdline())
    if process == command:
        return _COMMAND
    if "role_main" in line:
        return _TRAINING
    return _ACTORS if "RoleActor" in line else _RAY


def _processor_seconds(command: psutil.Process) -> Counter[str]:
    """So far, by kind of process."""
    spent: Counter[str] = Counter()
    for process in (command, *command.children(recursive=True)):
        with contextlib.suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            spent[_kind(process, command)] += times.user + times.system
    return spent


@dataclass(frozen=True)
class Stretch:
    """Some seconds of training.

    Attributes:
      steps: made a second.
      spent: processor seconds a second of all processes but TensorFlow's, by kind.
    """

    steps: float
    spent: dict[str, float]

    @property
    def share(self) -> float:
        """Of all processors of this machine."""
        return sum(self.spent.values()) / (psutil.cpu_count() or 1)


def _stretch(command: psutil.Process, train_dir: Path, seconds: float) -> Stretch:
    first, spent, began = _progress(train_dir), _processor_seconds(command), time.monotonic()
    time.sleep(seconds)
    took = time.monotonic() - began
    now, last = _processor_seconds(command), _progress(train_dir)
    return Stretch(
        (last.global_step - first.global_step) / (last.time - first.time),
        {kind: (now[kind] - spent[kind]) / took for kind in (_COMMAND, _ACTORS, _RAY)},
    )


def _progress(train_dir: Path) -> TrainingProgress:
    """As the chief tells it every 2 s."""
    found = read_progress(str(train_dir))
    assert found is not None
    return found


def _stretches(options: BenchmarkOptions, strategy: str) -> Iterator[tuple[Stretch, Stretch]]:
    """Pairs of a stretch with the command at work, and one with it halted."""
    with tempfile.TemporaryDirectory() as folder:
        train_dir = Path(folder) / "run"
        flags = (
            f"--train_data_pattern={options.train_data_pattern}",
            f"--train_dir={train_dir}",
            "--model=CnnModel",
            "--batch_size=64",
            "--max_steps=100000000",
            "--save_checkpoints_steps=100000000",
            f"--orphan_timeout_secs={1000 + 10 * options.seconds:g}",
            f"--strategy={strategy}",
            *_STRATEGIES[strategy],
        )
        with running_command("launch.train", *flags) as (process, _):
            _await_first_step(train_dir / "events.jsonl")
            time.sleep(_SETTLING_SECS)
            command = psutil.Process(process.pid)
            for _round in range(options.rounds):
                looked_at = _stretch(command, train_dir, options.seconds)
                command.suspend()
                try:
                    yield looked_at, _stretch(command, train_dir, options.seconds)
                finally:
                    command.resume()


def _await_first_step(events: Path) -> None:
    until = time.monotonic() + _START_SECS
    while not (
        events.exists() and any(json.loads(line)["event"] == "first_step" for line in events.read_text().splitlines())
    ):
        if time.monotonic() > until:
            raise InfrastructureError("A measured run did not start", asked=f"a first step in {_START_SECS:g} s")
        time.sleep(0.5)


def main() -> None:
    """Prints the table."""
    (options,) = parse_flags("benchmarks.supervision", __doc__, BenchmarkOptions)
    print("| strategy | steps/s, looked at : not, median (range) | processors taken from TensorFlow, looked at | not |")
    print("| --- | --- | --- | --- |")
    for strategy in _STRATEGIES:
        pairs = list(_stretches(options, strategy))
        ratios = [looked_at.steps / alone.steps for looked_at, alone in pairs]
        shares = [statistics.median(share) for share in zip(*((a.share, b.share) for a, b in pairs), strict=True)]
        print(
            f"| {strategy} | {statistics.median(ratios):.3f} ({min(ratios):.3f}–{max(ratios):.3f}) "
            f"| {shares[0]:.2%} | {shares[1]:.2%} |",
            flush=True,
        )


if __name__ == "__main__":
    run_command(main)
