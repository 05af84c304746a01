"""Front door of evaluation: finds the model by its train_dir, checks the data, evaluates in this process."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from estimators import class_lookup
from estimators.checkpoints.checkpoint_files import read_metrics
from estimators.errors import UserError
from estimators.evaluation.checkpoint_evaluator import EvaluationReport, begin_report
from estimators.evaluation.evaluation_identity import check_same_as_before, made_with
from estimators.evaluation.evaluation_options import BATCH_SIZE, EvaluationOptions
from estimators.evaluation.failed_evaluations import check_none_failed
from estimators.experiment_options import ExperimentOptions
from estimators.inputs.data_check import DataFiles, check_data
from estimators.storage.access import check_access
from estimators.storage_trouble import storage_trouble_told
from estimators.tensorflow_compat import quiet_tensorflow
from estimators.train_dir.experiment_file import EXPERIMENT_FILE, read_experiment

# Of a batch of the evaluator beside a run, which nobody gives a size: 1024 pictures of 64 x 64, and as many as take the
# same memory if they are larger. It shares the machine with training.
_MOST_PIXELS = 1 << 22


@dataclass(frozen=True)
class PreparedEvaluation:
    """What an evaluation was found to consist of.

    Attributes:
      options: of the training run, with what the evaluation changes.
      data: the validation files.
      made_with: what the numbers are of, see evaluation_identity.py.
    """

    options: ExperimentOptions
    data: DataFiles
    made_with: Mapping[str, str]


def prepare_evaluation(evaluation: EvaluationOptions, *, line: Callable[[str], None]) -> PreparedEvaluation:
    """Checks the train_dir, the classes and the data. Writes nothing, and needs no TensorFlow for built-in classes.

    Raises:
      UserError: the train_dir, a class or the data do not fit; there are fewer examples than workers; or the run's
        evaluations so far are of other data or by another loss, and this one has no name.
      DataError: a data file is damaged.
    """
    check_access(read={"eval_data_pattern": evaluation.eval_data_pattern}, folders={"train_dir": evaluation.train_dir})
    run = read_experiment(evaluation.train_dir)
    _check_model(evaluation, run)
    options = dataclasses.replace(
        run,
        eval_data_pattern=evaluation.eval_data_pattern,
        num_readers=evaluation.num_readers,
        on_bad_record=evaluation.on_bad_record,
        label_loss=_checked_loss(evaluation, run),
        label_loss_given=evaluation.label_loss is not None,
    )
    data = _checked_data(options, evaluation.eval_data_pattern, line)
    if data.examples < evaluation.eval_workers:
        raise UserError(
            "There are fewer validation examples than workers",
            asked=f"--eval_workers={evaluation.eval_workers}",
            found=f"{data.examples} examples in {evaluation.eval_data_pattern}",
            change=f"--eval_workers to at most {data.examples}, or --eval_data_pattern",
        )
    now = made_with(options, data.paths)
    loss = f" --label_loss={evaluation.label_loss}" if evaluation.label_loss else ""
    asked = f"--eval_data_pattern={evaluation.eval_data_pattern}{loss}"
    check_same_as_before(run, now, eval_name=evaluation.eval_name, asked=asked)
    return PreparedEvaluation(options, data, now)


def evaluate_train_dir(evaluation: EvaluationOptions, *, line: Callable[[str], None]) -> int:
    """Evaluates the checkpoints of a train_dir from outside its run, in this process whatever eval_workers says.

    Returns:
      How many checkpoints were evaluated.

    Raises:
      UserError: see `prepare_evaluation`.
    """
    prepared = prepare_evaluation(evaluation, line=line)
    report = begin_report(
        prepared.options.train_dir, line, eval_name=evaluation.eval_name, made_with=prepared.made_with
    )
    return _evaluate(prepared, report, batch_size=evaluation.batch_size, run_once=evaluation.run_once)


def run_evaluation(
    options: ExperimentOptions, *, line: Callable[[str], None], alive: Callable[[], None] = lambda: None
) -> int:
    """Evaluates the checkpoints of a run as they come, beside it, on options.eval_data_pattern.

    Args:
      options: of the run.
      line: called with each line for people.
      alive: called every second or so, also in the middle of an evaluation.

    Returns:
      How many checkpoints were evaluated.

    Raises:
      UserError: at the end, if one could not be evaluated, though it was tried twice.
    """
    if options.eval_data_pattern is None:
        raise UserError("No validation data", change="--eval_data_pattern")
    data = _checked_data(options, options.eval_data_pattern, line)
    prepared = PreparedEvaluation(options, data, made_with(options, data.paths))
    before, now = read_metrics(options.train_dir)[-1:], prepared.made_with
    if any(row.get(name, value) != value for row in before for name, value in now.items()):
        line("the evaluations so far are of other data or by another loss; from here on the curve is of these")
    report = begin_report(options.train_dir, line, alive, made_with=prepared.made_with)
    batch_size = max(1, min(BATCH_SIZE, _MOST_PIXELS // options.image_size**2))
    done = _evaluate(prepared, report, batch_size=batch_size, keep_going=True)
    check_none_failed(options.train_dir)
    return done


def _evaluate(
    prepared: PreparedEvaluation,
    report: EvaluationReport,
    *,
    batch_size: int,
    run_once: bool = False,
    keep_going: bool = False,
) -> int:
    quiet_tensorflow()
    from estimators.evaluation.continuous_evaluation import evaluate_continuously
    from estimators.evaluation.local_evaluator import LocalEvaluator

    with storage_trouble_told(prepared.options.train_dir):
        evaluator = LocalEvaluator(prepared.options, prepared.data, batch_size=batch_size, report=report)
        train_dir = prepared.options.train_dir
        return evaluate_continuously(train_dir, evaluator, report, run_once=run_once, keep_going=keep_going)


def _check_model(evaluation: EvaluationOptions, run: ExperimentOptions) -> None:
    if evaluation.model is not None and evaluation.model != run.model:
        raise UserError(
            "--train_dir holds checkpoints of another model",
            asked=f"--model={evaluation.model}",
            found=f"--model={run.model} in {evaluation.train_dir}/{EXPERIMENT_FILE}",
            change=f"leave --model out: {EXPERIMENT_FILE} says which model it is",
        )


def _checked_loss(evaluation: EvaluationOptions, run: ExperimentOptions) -> str:
    """The loss to evaluate with; whether it fits the model is checked with the model's predictions at hand."""
    name = evaluation.label_loss
    if name is None:
        return run.label_loss
    class_lookup.check_name("label_loss", name)
    if ":" in name:
        quiet_tensorflow()  # which a class of the user's own imports
        class_lookup.load_class("label_loss", name)
    return name


def _checked_data(options: ExperimentOptions, pattern: str, line: Callable[[str], None]) -> DataFiles:
    return check_data(
        pattern,
        flag="eval_data_pattern",
        num_classes=options.num_classes,
        on_bad_record=options.on_bad_record,
        announce=line,
    )
