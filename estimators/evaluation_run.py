"""Front door of evaluation: finds the model by its train_dir, checks the data, evaluates."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

from estimators.data_check import check_data
from estimators.errors import UserError
from estimators.experiment_options import ExperimentOptions
from estimators.options import Options, option
from estimators.tensorflow_compat import quiet_tensorflow
from estimators.train_dir import read_experiment

_GROUP = "evaluation"
BATCH_SIZE = 1024


@dataclass(frozen=True, kw_only=True)
class EvaluationOptions(Options):
    """Options of `launch.eval`; all that is not here comes from `train_dir/experiment.json`."""

    train_dir: str = option(group=_GROUP, help="folder of the training run")
    eval_data_pattern: str = option(group=_GROUP, help="glob of the validation TFRecord files; quote it")
    batch_size: int = option(BATCH_SIZE, group=_GROUP, at_least=1, help="examples a batch")
    num_readers: int = option(8, group=_GROUP, at_least=1, help="files that are read at the same time")
    run_once: bool = option(False, group=_GROUP, help="evaluate the newest checkpoint, if it is new, and end")
    on_bad_record: str = option(
        "fail",
        group=_GROUP,
        choices=("fail", "skip"),
        help="what a damaged record does: ends evaluation, or is left out",
    )


def evaluate_train_dir(evaluation: EvaluationOptions, *, line: Callable[[str], None]) -> int:
    """Evaluates the checkpoints of a train_dir from outside its run.

    Returns:
      How many checkpoints were evaluated.

    Raises:
      UserError: the train_dir or the data do not fit.
    """
    options = dataclasses.replace(
        read_experiment(evaluation.train_dir),
        eval_data_pattern=evaluation.eval_data_pattern,
        num_readers=evaluation.num_readers,
        on_bad_record=evaluation.on_bad_record,
    )
    return run_evaluation(options, line=line, batch_size=evaluation.batch_size, run_once=evaluation.run_once)


def run_evaluation(
    options: ExperimentOptions, *, line: Callable[[str], None], batch_size: int = BATCH_SIZE, run_once: bool = False
) -> int:
    """Evaluates the checkpoints of options.train_dir on options.eval_data_pattern. See `evaluate_continuously`."""
    if options.eval_data_pattern is None:
        raise UserError("No validation data", change="--eval_data_pattern")
    data = check_data(
        options.eval_data_pattern,
        flag="eval_data_pattern",
        num_classes=options.num_classes,
        on_bad_record=options.on_bad_record,
        announce=line,
    )
    quiet_tensorflow()
    from estimators.continuous_evaluation import evaluate_continuously

    return evaluate_continuously(options, data, batch_size=batch_size, line=line, run_once=run_once)
