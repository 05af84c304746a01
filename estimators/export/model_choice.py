"""Which model of a training run is to predict: its newest checkpoint, or the best one. TensorFlow-free."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from estimators.checkpoints.checkpoint_files import Checkpoint, list_checkpoints, read_metrics
from estimators.checkpoints.checkpoint_soundness import flaw_of
from estimators.errors import UserError
from estimators.train_dir.exports import export_dir, exported_steps, newest_export

_HIT_AT_ONE = "hit_at_1"  # as EvaluationResult.to_json names it
_STEP_FOLDER = re.compile(r"step_(\d+)")


@dataclass(frozen=True)
class ChosenModel:
    """A model to predict with.

    Attributes:
      model_dir: where its SavedModel is, or will be.
      step: its global step; None if nobody knows.
      metrics: what its evaluation found; None if it was not evaluated.
      checkpoint: what is to be exported to `model_dir` first; None if it is there.
    """

    model_dir: str
    step: int | None
    metrics: dict[str, Any] | None
    checkpoint: Checkpoint | None = None


def model_at(model_dir: str) -> ChosenModel:
    """The SavedModel in a folder; of `TRAIN_DIR/export/step_N`, step and metrics are known."""
    path = os.path.normpath(model_dir) if "://" not in model_dir else model_dir.rstrip("/")
    match = _STEP_FOLDER.fullmatch(os.path.basename(path))
    if match is None:
        return ChosenModel(model_dir, None, None)
    step = int(match[1])
    return ChosenModel(model_dir, step, _metrics_of(os.path.dirname(os.path.dirname(path)), step))


def newest_model(train_dir: str) -> ChosenModel:
    """The newest sound checkpoint of a run; it is to be exported if no export is as new.

    Raises:
      UserError: there is neither a checkpoint nor an export.
    """
    newest = max(exported_steps(train_dir), default=-1)
    for checkpoint in reversed(list_checkpoints(train_dir)):
        if checkpoint.step <= newest:
            break
        if flaw_of(checkpoint.prefix) is None:
            return _of_step(train_dir, checkpoint.step, checkpoint)
    return model_at(newest_export(train_dir))


def best_model(train_dir: str, announce: Callable[[str], None]) -> ChosenModel:
    """The evaluated checkpoint with the best Hit@1, of equal ones the newest, among those that are still there.

    Args:
      train_dir: the folder of the run.
      announce: takes a line if a better one is not there any more.

    Raises:
      UserError: none is evaluated, or none of those is there.
    """
    rows = read_metrics(train_dir)
    # A run may have got other validation data when it was continued: rates of both are not compared.
    last = rows[-1].get("eval_data") if rows else None
    same = [row for row in rows if row.get("eval_data", last) == last]
    rates = {int(row["global_step"]): row.get(_HIT_AT_ONE) for row in same}
    ranked = sorted(
        (float(rate), step) for step, rate in rates.items() if isinstance(rate, (int, float)) and math.isfinite(rate)
    )
    kept = {checkpoint.step: checkpoint for checkpoint in list_checkpoints(train_dir)}
    exported = set(exported_steps(train_dir))
    for rate, step in reversed(ranked):
        if step in exported or (step in kept and flaw_of(kept[step].prefix) is None):
            if (rate, step) != ranked[-1]:
                announce(
                    f"the checkpoint with the best Hit@1, {ranked[-1][0]:.4f} at step {ranked[-1][1]}, is not kept; of "
                    f"those that are, step {step} has the best, {rate:.4f}"
                )
            return _of_step(train_dir, step, None if step in exported else kept[step])
    raise UserError(
        "No best checkpoint to predict with",
        asked=f"--train_dir={train_dir} --eval_best",
        found=f"{len(ranked)} checkpoints are evaluated, and none of them is kept or exported",
        change="evaluate those that are kept, `python -m launch.eval --train_dir=…`, or leave --eval_best out",
    )


def _of_step(train_dir: str, step: int, checkpoint: Checkpoint | None) -> ChosenModel:
    return ChosenModel(export_dir(train_dir, step), step, _metrics_of(train_dir, step), checkpoint)


def _metrics_of(train_dir: str, step: int) -> dict[str, Any] | None:
    found = [row for row in read_metrics(train_dir) if int(row["global_step"]) == step]
    return found[-1] if found else None
