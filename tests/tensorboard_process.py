"""`make tensorboard` as a process, over runs whose curves a test draws."""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.event_file_writer import EventFileWriter

_ROOT = Path(__file__).parents[1]


def draw_run(train_dir: Path, curves: Mapping[str, Sequence[float]]) -> None:
    """Writes a value each ten steps, as launch.train does in `train_dir`, and 0.1 less in `train_dir/eval`."""
    for folder, less in ((train_dir, 0.0), (train_dir / "eval", 0.1)):
        writer = EventFileWriter(str(folder))
        for tag, values in curves.items():
            for index, value in enumerate(values):
                point = Summary(value=[Summary.Value(tag=tag, simple_value=value - less)])
                writer.add_event(Event(step=10 * index, wall_time=1e9 + index, summary=point))
        writer.close()


@contextlib.contextmanager
def tensorboard(logdir: Path) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Runs the line of the Makefile; yields its URL and process once it answers."""
    (line,) = re.findall(r"^\t(\$\(BIN\)/tensorboard .*)$", (_ROOT / "Makefile").read_text(), re.M)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    values = {"$(BIN)": str(Path(sys.executable).parent), "$(LOGDIR)": str(logdir), "$(or $(PORT),6006)": str(port)}
    for name, value in values.items():
        line = line.replace(name, value)
    env = {**os.environ, "CUDA_VISIBLE_DEVICES": "-1"}
    process = subprocess.Popen(["sh", "-c", f"exec {line}"], env=env, stderr=subprocess.DEVNULL)
    try:
        url, until = f"http://127.0.0.1:{port}", time.monotonic() + 120
        while True:
            with contextlib.suppress(urllib.error.URLError, ConnectionError):
                get(f"{url}/data/environment")
                break
            assert process.poll() is None and time.monotonic() < until, "TensorBoard never answered"
            time.sleep(0.5)
        yield url, process
    finally:
        process.terminate()
        process.wait()


def get(url: str) -> Any:
    """What it answers, as JSON."""
    with urllib.request.urlopen(url, timeout=30) as answer:
        return json.load(answer)
