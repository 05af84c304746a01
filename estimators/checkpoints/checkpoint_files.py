"""Which checkpoints a train_dir holds, which of them are evaluated, and which may go. TensorFlow-free."""

from __future__ import annotations

import contextlib
import json
import os
import re
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from estimators import storage

_INDEX = re.compile(r"model\.ckpt-(\d+)\.index")
_SHARD = re.compile(r"model\.ckpt-(\d+)\.data-\d{5}-of-(\d{5})")
_OF_CHECKPOINT = re.compile(r"model\.ckpt-(\d+)[._]")
# The magic number of TensorFlow's tables (core/lib/io/format.h), little endian.
_END_OF_INDEX = bytes.fromhex("57fb808b247547db")
# An evaluator outside the run says every few seconds that it is there; see `mark_watched`.
_WATCH_SECONDS = 120.0


@dataclass(frozen=True)
class Checkpoint:
    """A complete checkpoint.

    Attributes:
      step: its global step.
      prefix: the path that TensorFlow restores from, `…/model.ckpt-<step>`.
    """

    step: int
    prefix: str


def list_checkpoints(train_dir: str) -> list[Checkpoint]:
    """The complete checkpoints, oldest first.

    TensorFlow writes the index last, but under its own name from the first byte on; so one without its last bytes is
    still being written, and not listed. One that lacks a data file is not complete either.
    """
    indexes: list[int] = []
    found: dict[int, int] = {}
    wanted: dict[int, int] = {}
    for name in storage.list_dir(train_dir):
        if match := _INDEX.fullmatch(name):
            indexes.append(int(match[1]))
        elif match := _SHARD.fullmatch(name):
            step = int(match[1])
            found[step] = found.get(step, 0) + 1
            wanted[step] = int(match[2])
    with_data = [step for step in sorted(indexes) if found.get(step, 0) == wanted.get(step, -1)]
    listed = [Checkpoint(step, os.path.join(train_dir, f"model.ckpt-{step}")) for step in with_data]
    return [checkpoint for checkpoint in listed if _is_written(checkpoint.prefix + ".index")]


def _is_written(index_path: str) -> bool:
    if storage.is_remote(index_path):
        return True  # an object appears whole or not at all
    try:
        with storage.open_binary(index_path) as file:
            file.seek(max(0, storage.size(index_path) - len(_END_OF_INDEX)))
            return file.read() == _END_OF_INDEX
    except FileNotFoundError:  # pruned since the folder was listed
        return False


def latest_checkpoint(train_dir: str) -> Checkpoint | None:
    """The complete checkpoint of the highest step, or None."""
    return next(reversed(list_checkpoints(train_dir)), None)


def metrics_path(train_dir: str, eval_name: str | None = None) -> str:
    """The file with a JSON line for each evaluated checkpoint; of the evaluation `eval_name`, if it has a name."""
    return os.path.join(train_dir, f"eval_{eval_name}" if eval_name else "eval", "metrics.jsonl")


def read_metrics(train_dir: str, eval_name: str | None = None) -> list[dict[str, Any]]:
    """One dictionary for each evaluated checkpoint, in the order of evaluation; [] if there is none."""
    return _rows(metrics_path(train_dir, eval_name))


def _rows(path: str) -> list[dict[str, Any]]:
    if not storage.exists(path):
        return []
    rows = []
    for line in storage.read_text(path).splitlines():
        with contextlib.suppress(ValueError):  # a line cut off by a kill or a full disk says nothing
            rows.append(json.loads(line))
    return rows


def evaluated_steps(
    train_dir: str, eval_name: str | None = None, *, made_with: Mapping[str, str] | None = None
) -> set[int]:
    """Steps whose checkpoint is evaluated.

    Args:
      train_dir: the folder of the run.
      eval_name: of the evaluation, if it has a name.
      made_with: see evaluation_identity.py; rows that say something else are passed over.
    """
    wanted = (made_with or {}).items()
    return {
        int(row["global_step"])
        for row in read_metrics(train_dir, eval_name)
        if all(row.get(name, value) == value for name, value in wanted)
    }


def failed_path(train_dir: str) -> str:
    """The file with a JSON line for each checkpoint that could not be evaluated; see failed_evaluations.py."""
    return os.path.join(train_dir, "eval", "failed.jsonl")


def read_failed(train_dir: str) -> list[dict[str, Any]]:
    """One dictionary for each checkpoint that could not be evaluated; [] if there is none."""
    return _rows(failed_path(train_dir))


def failed_steps(train_dir: str) -> set[int]:
    """Steps whose checkpoint could not be evaluated by the evaluator of this run."""
    return {int(row["global_step"]) for row in read_failed(train_dir)}


def _watched_path(train_dir: str) -> str:
    return os.path.join(train_dir, "eval", "watched.json")


def mark_watched(train_dir: str) -> None:
    """Says that an evaluator is at work on `train_dir`; to be called every few seconds."""
    storage.write_text(_watched_path(train_dir), json.dumps({"time": time.time()}))


def forget_evaluator(train_dir: str) -> None:
    """Takes back what an evaluator of an earlier run said: that it is there, and what it could not evaluate."""
    storage.delete(_watched_path(train_dir))
    storage.delete(failed_path(train_dir))


def awaits_evaluation(train_dir: str, *, evaluator_planned: bool, now: float | None = None) -> bool:
    """True if somebody will evaluate the checkpoints, so that `prune` must keep those that are not evaluated yet.

    Args:
      train_dir: the folder.
      evaluator_planned: whether the run has an evaluator; it may not have said yet that it is at work.
      now: seconds since the epoch; None is when the newest checkpoint was written, by the storage's clock: those of two
        machines may be minutes apart.

    Returns:
      Whether an evaluator, of the run or from outside, said in the last two minutes that it is at work; one that went
      silent is taken for dead, or its backlog would fill the disk. As long as none said anything: `evaluator_planned`.
    """
    path = _watched_path(train_dir)
    if not storage.exists(path):
        return evaluator_planned
    if now is None:
        newest = latest_checkpoint(train_dir)
        if newest is None:
            return True
        now = storage.modified_ns(newest.prefix + ".index") / 1e9
    storage.read_text(path)  # over NFS what is known of a file is what it was a minute ago, unless it is opened
    return now - storage.modified_ns(path) / 1e9 < _WATCH_SECONDS


def prune(train_dir: str, *, keep: int, keep_unevaluated: bool) -> list[int]:
    """Deletes all but the newest checkpoints.

    Args:
      train_dir: the folder.
      keep: how many of the newest stay; 0 keeps all.
      keep_unevaluated: older ones stay too until they are evaluated.

    Returns:
      The steps deleted.
    """
    old = list_checkpoints(train_dir)[:-keep] if keep else []
    spared: set[int] = set()
    if keep_unevaluated and old:
        evaluated = evaluated_steps(train_dir) | failed_steps(train_dir)
        spared = {checkpoint.step for checkpoint in old if checkpoint.step not in evaluated}
    gone = [checkpoint for checkpoint in old if checkpoint.step not in spared]
    names = storage.list_dir(train_dir) if gone else []
    for checkpoint in gone:
        # The index first: without it the checkpoint is not listed, so nobody meets it half deleted.
        storage.delete(checkpoint.prefix + ".index")
        for name in files_of_step(names, checkpoint.step):
            storage.delete(os.path.join(train_dir, name))
    return [checkpoint.step for checkpoint in gone]


def files_of_step(names: Iterable[str], step: int) -> list[str]:
    """Those of the names in a train_dir that are of one checkpoint.

    By name rather than by a pattern: the folder's own may hold what a pattern takes for its signs, [ ] and commas.
    """
    return [name for name in names if name.startswith(f"model.ckpt-{step}.")]


def delete_half_saved(train_dir: str) -> None:
    """Deletes what a save that failed on a full disk has left; for the process that saves.

    Only what is newer than the newest complete checkpoint goes: a checkpoint that was complete is never touched.
    """
    newest = latest_checkpoint(train_dir)
    for name in storage.list_dir(train_dir):
        match = _OF_CHECKPOINT.match(name)
        is_newer = match and (newest is None or int(match[1]) > newest.step)
        if is_newer or name.startswith("checkpoint.tmp"):
            with contextlib.suppress(OSError):
                storage.delete(os.path.join(train_dir, name))
