"""Runs on the cluster: their flags, and what their train_dir tells of them."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

# Together they hold all 8 CPUs of two hosts, so that no host can hold the run alone, nor all of its workers.
_TOPOLOGIES = {
    "multi_worker_mirrored": ["--num_workers=2", "--cpus_per_worker=3"],
    "multi_worker_mirrored with an evaluator": ["--num_workers=3", "--cpus_per_worker=2"],
    "parameter_server": ["--num_workers=3", "--num_parameter_servers=1", "--cpus_per_worker=2"],
}


def training_flags(data: Path, train_dir: Path, strategy: str, max_steps: int, *more: str) -> list[str]:
    """Flags of a run with this strategy that no host can hold alone; "… with an evaluator" has one."""
    flags = [
        f"--train_data_pattern={data}/train/*", f"--train_dir={train_dir}", "--model=CnnModel", "--batch_size=16",
        f"--strategy={strategy.split()[0]}", *_TOPOLOGIES[strategy], f"--max_steps={max_steps}",
        "--save_checkpoints_steps=10", *more,
    ]  # fmt: skip
    return flags + [f"--eval_data_pattern={data}/validation/*"] * strategy.endswith("evaluator")


def events(train_dir: Path, *kinds: str) -> list[dict[str, Any]]:
    """What happened so far, of these kinds, or all of it."""
    path = train_dir / "events.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    return [row for row in rows if not kinds or row["event"] in kinds]


def steps(train_dir: Path) -> list[int]:
    """Those of the checkpoints there are."""
    return sorted(int(path.stem.rpartition("-")[2]) for path in train_dir.glob("model.ckpt-*.index"))


def evaluated(train_dir: Path) -> list[int]:
    """The steps that were evaluated, in that order."""
    path = train_dir / "eval" / "metrics.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    return [int(json.loads(line)["global_step"]) for line in lines]


def until(reached: Callable[[], object], patience: float, what: str) -> None:
    """Waits, and fails with `what` after so many seconds."""
    end = time.monotonic() + patience
    while not reached():
        assert time.monotonic() < end, f"not within {patience:g} s: {what}"
        time.sleep(0.2)
