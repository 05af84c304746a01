"""`make tensorboard`: training and evaluation of several runs side by side, for this machine only."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import psutil

from tests.tensorboard_process import draw_run, get, tensorboard

_ROOT = Path(__file__).parents[2]


def test_training_and_evaluation_of_several_runs_are_side_by_side_and_nobody_else_can_connect(tmp_path: Path) -> None:
    for name in ("first", "second"):
        draw_run(tmp_path / name, {"loss": [1.0, 0.5], "Hit@1": [0.5, 0.9]})
    with tensorboard(tmp_path) as (url, process):
        until = time.monotonic() + 60
        while len(runs := get(f"{url}/data/plugin/scalars/tags")) < 4 and time.monotonic() < until:
            time.sleep(0.5)
        # The same names in each, so that they share a chart.
        assert {run: set(tags) for run, tags in runs.items()} == {
            run: {"loss", "Hit@1"} for run in ("first", "first/eval", "second", "second/eval")
        }
        listening = {
            connection.laddr.ip
            for one in (psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True))
            for connection in one.net_connections("inet")
            if connection.status == psutil.CONN_LISTEN
        }
        assert listening and listening <= {"127.0.0.1", "::1"}


def test_without_a_folder_it_says_what_to_write() -> None:
    recipe = ["make", "--no-print-directory", "-o", ".venv/.installed", "tensorboard"]
    done = subprocess.run(recipe, cwd=_ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2 and "make tensorboard LOGDIR=/path/to/train_dir" in done.stderr, done.stderr
