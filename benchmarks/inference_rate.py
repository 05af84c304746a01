"""Photos a second of a running command, and the processor time they cost, between 20 % and 90 % of all photos."""

from __future__ import annotations

import contextlib
import re
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from estimators.errors import InfrastructureError

_LINE = re.compile(r"num examples processed: (\d+) elapsed seconds: ([\d.]+)")


@dataclass(frozen=True)
class Rate:
    """What a command did in its steady state.

    Attributes:
      photos: a second.
      processor: seconds that all its processes together had of the processors, a photo; it says little if the command
        prints its lines when all is done.
    """

    photos: float
    processor: float


def steady_rate(command: Sequence[str], folder: Path) -> Rate:
    """Runs a command that prints the lines of launch.inference.

    Args:
      command: the command.
      folder: where it runs.
    """
    points: list[tuple[int, float, dict[int, float]]] = []
    with tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=errors, text=True)
        assert process.stdout is not None
        for line in process.stdout:
            if match := _LINE.match(line):
                points.append((int(match[1]), float(match[2]), _processor_seconds(process.pid)))
        if process.wait():
            errors.seek(0)
            raise InfrastructureError("A measured command failed", asked=" ".join(command), found=errors.read()[-2000:])
    total = points[-1][0]
    within = [point for point in points if 0.2 * total <= point[0] <= 0.9 * total]
    (first, begun, before), (last, ended, after) = within[0], within[-1]
    spent = sum(seconds - before.get(pid, 0.0) for pid, seconds in after.items())
    return Rate((last - first) / (ended - begun), spent / (last - first))


def _processor_seconds(pid: int) -> dict[int, float]:
    """Of a process and of all below it."""
    found: dict[int, float] = {}
    with contextlib.suppress(psutil.Error):
        for process in [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]:
            with contextlib.suppress(psutil.Error):
                times = process.cpu_times()
                found[process.pid] = times.user + times.system
    return found
