"""What the numbers of an evaluation are of: its data and its loss. TensorFlow-free.

Of one train_dir `eval/metrics.jsonl` and its curves are of one data set and one loss, as far as a person can see; so
those of others go to a folder of their own.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Mapping, Sequence

from estimators import storage
from estimators.checkpoints.checkpoint_files import metrics_path, read_metrics
from estimators.errors import UserError
from estimators.experiment_options import ExperimentOptions

_OTHERWISE = {"label_loss": "by another loss", "eval_data": "of other data"}


def made_with(options: ExperimentOptions, paths: Sequence[str]) -> dict[str, str]:
    """What is stored beside the metrics: the name of the loss, and a digest of the validation files' names and sizes.

    Args:
      options: with the loss that is evaluated with.
      paths: the validation files. Their folder does not matter, which may be mounted elsewhere on another machine.
    """
    files = sorted((os.path.basename(path), storage.size(path)) for path in paths)
    return {
        "label_loss": options.label_loss,
        "eval_data": hashlib.sha256(json.dumps(files).encode()).hexdigest()[:16],
    }


def check_same_as_before(run: ExperimentOptions, now: Mapping[str, str], *, eval_name: str | None, asked: str) -> None:
    """Refuses an evaluation from outside whose numbers would stand among others.

    Args:
      run: as experiment.json has it.
      now: `made_with` of the evaluation.
      eval_name: its name, if it has one: then it stands among others of that name alone.
      asked: its flags.

    Raises:
      UserError: the run's own evaluator, or an evaluation before, has other data or another loss.
    """
    path = metrics_path(run.train_dir, eval_name)
    others = [(f"a row of {path}", row) for row in read_metrics(run.train_dir, eval_name)[-1:]]
    if run.eval_data_pattern is not None and eval_name is None:
        with contextlib.suppress(OSError):  # it may lie where this machine does not get
            if paths := storage.glob(run.eval_data_pattern):
                others.append(
                    (f"its own evaluator, --eval_data_pattern={run.eval_data_pattern}", made_with(run, paths))
                )
    for whose, other in others:
        different = [name for name, value in now.items() if other.get(name, value) != value]
        if different:
            what = " and ".join(_OTHERWISE[name] for name in different)
            loss = f", --label_loss={other['label_loss']}" if "label_loss" in different else ""
            where = "This run" if eval_name is None else f"eval_{eval_name}"
            raise UserError(
                f"{where} has evaluations {what}, and numbers of both would stand in one curve",
                asked=asked,
                found=whose + loss,
                change="--eval_name=NAME, another one, which puts these into a folder of their own, eval_NAME; or the "
                "data and the loss of the others",
            )
