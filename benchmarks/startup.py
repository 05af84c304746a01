"""How long a user waits: from the command to its help, and from the command to each worker's first training step:

    python -m benchmarks.startup --train_data_pattern='/data/train/*' [--rounds=3]

Each figure is of a whole command, as typed, on a Ray that the command starts itself. Medians of several rounds.
"""

from __future__ import annotations

import re
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass

from estimators.errors import InfrastructureError
from estimators.options import Options, option
from launch.flags import parse_flags, run_command

_STRATEGIES = {
    "multi_worker_mirrored, 2 workers": ("--strategy=multi_worker_mirrored", "--num_workers=2"),
    "parameter_server, 2 workers, 1 ps": (
        "--strategy=parameter_server",
        "--num_workers=2",
        "--num_parameter_servers=1",
    ),
}
_FIRST_STEP = re.compile(r"(chief-0|worker-0) \d+, the first ([\d.]+) s")


@dataclass(frozen=True, kw_only=True)
class BenchmarkOptions(Options):
    """What to measure on."""

    train_data_pattern: str = option(group="benchmark", help="glob of the training TFRecord files; quote it")
    rounds: int = option(3, group="benchmark", at_least=1, help="times that each command runs")


def _run(*arguments: str) -> str:
    done = subprocess.run([sys.executable, "-m", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise InfrastructureError("A measured command failed", asked=" ".join(arguments), found=done.stderr[-2000:])
    return done.stdout


def _help_seconds(module: str) -> float:
    begun = time.perf_counter()
    _run(module, "--help")
    return time.perf_counter() - begun


def _first_steps(pattern: str, flags: tuple[str, ...]) -> tuple[float, float]:
    """Seconds from the command to the first step, and from the chief's to the worker's."""
    with tempfile.TemporaryDirectory() as folder:
        output = _run(
            "launch.train",
            f"--train_data_pattern={pattern}",
            f"--train_dir={folder}/run",
            "--model=LogisticModel",
            "--batch_size=64",
            "--max_steps=2000",
            "--save_checkpoints_steps=2000",
            *flags,
        )
    first = {name: float(seconds) for name, seconds in _FIRST_STEP.findall(output)}
    return min(first.values()), first["worker-0"] - first["chief-0"]


def main() -> None:
    """Prints the table."""
    (options,) = parse_flags("benchmarks.startup", __doc__, BenchmarkOptions)
    rounds = range(options.rounds)
    print("| what | median, s | all, s |")
    print("| --- | --- | --- |")
    for module in ("launch.train", "launch.eval", "launch.inference", "launch.prepare_data"):
        _print_row(f"{module} --help", [_help_seconds(module) for _ in rounds])
    for name, flags in _STRATEGIES.items():
        measured = [_first_steps(options.train_data_pattern, flags) for _ in rounds]
        _print_row(f"{name}: command to first step", [first for first, _ in measured])
        _print_row(f"{name}: worker's first step after its chief's", [lag for _, lag in measured])


def _print_row(name: str, seconds: list[float]) -> None:
    print(f"| {name} | {statistics.median(seconds):.1f} | {', '.join(f'{one:.1f}' for one in seconds)} |", flush=True)


if __name__ == "__main__":
    run_command(main)
