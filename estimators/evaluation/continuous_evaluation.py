"""Evaluates every checkpoint of a train_dir once, as they come, and ends after the last of a finished run."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Set
from typing import Any

import tensorflow as tf

from estimators import storage
from estimators.checkpoints import checkpoint_files
from estimators.checkpoints.checkpoint_files import Checkpoint
from estimators.checkpoints.checkpoint_soundness import flaw_of
from estimators.checkpoints.torn_checkpoints import check_sound
from estimators.evaluation.checkpoint_evaluator import CheckpointEvaluator, EvaluationReport, UnreadableCheckpointError
from estimators.evaluation.failed_evaluations import NotEvaluatedError, RetryingEvaluator
from estimators.metrics import EvaluationResult
from estimators.train_dir.run_state import looked_at_again, read_run_state

_POLL_SECS = 1.0


def evaluate_continuously(
    train_dir: str,
    evaluator: CheckpointEvaluator,
    report: EvaluationReport,
    *,
    run_once: bool = False,
    keep_going: bool = False,
    sleep: Callable[[float], None] = time.sleep,
) -> int:
    """Evaluates each complete checkpoint that is not in its `metrics.jsonl` yet, oldest first.

    Ends when training has ended and its last checkpoint is evaluated.

    Args:
      train_dir: the folder of the run.
      evaluator: evaluates one checkpoint.
      report: where lines go; by `begin_report`.
      run_once: evaluate the newest checkpoint, if it is not evaluated yet, and end.
      keep_going: it is the run's own: a checkpoint that cannot be evaluated is tried once more, then noted and left
        out; and whether the command lives is for others to say, who end this process when it does not.
      sleep: between two looks.

    Returns:
      How many checkpoints were evaluated.

    Raises:
      UserError: the run has ended, and none of its checkpoints is sound.
    """
    with tf.Graph().as_default():  # a FileWriter refuses to be made in eager mode
        folder = os.path.dirname(checkpoint_files.metrics_path(train_dir, report.eval_name))
        writer = tf.compat.v1.summary.FileWriter(folder)
    torn = _torn_already(train_dir, report.line)
    if keep_going:
        evaluator = RetryingEvaluator(evaluator, train_dir, report.line)
    done = 0
    waiting = False
    while True:
        report.beat()
        # The state first: a checkpoint that comes between the two looks is then seen in the next round.
        record = read_run_state(train_dir)
        failed = checkpoint_files.failed_steps(train_dir) if keep_going else set()
        pending = _pending(train_dir, report, torn | failed, newest_only=run_once)
        for checkpoint in pending[:1]:  # one a round: by the next one another evaluator may have done its part
            done += _evaluate_and_publish(train_dir, checkpoint, evaluator, report, writer, torn)
        if record is not None and record.is_abandoned and not (pending or keep_going or run_once):
            record = looked_at_again(train_dir, record, _say_nothing)
            pending = _pending(train_dir, report, torn, newest_only=False)  # that took seconds
        training_ended = record is not None and (record.state.training_ended if keep_going else record.training_ended)
        passed_over = any(checkpoint.step in torn for checkpoint in pending)
        if (run_once and not passed_over) or (not pending and training_ended):
            _say_end(train_dir, training_ended, done, report)
            return done
        if not pending:
            if not waiting and not done:
                report.line(f"waiting for a checkpoint in {train_dir}")
            waiting = True
            sleep(_POLL_SECS)


def _torn_already(train_dir: str, line: Callable[[str], None]) -> set[int]:
    """Steps whose checkpoints are torn; while a run is at work, what it is writing would look like that.

    Raises:
      UserError: there are checkpoints, and none is sound.
    """
    record = read_run_state(train_dir)
    if record is not None and not looked_at_again(train_dir, record, line).training_ended:
        return set()
    found = check_sound(train_dir)
    for step, flaw in found.flaws.items():
        line(f"the checkpoint of step {step} is torn, so it is not evaluated: {flaw}")
    return set(found.flaws)


def _say_nothing(line: str) -> None:
    """It would be said every few seconds of a run whose clock is another's."""


def _evaluated(train_dir: str, report: EvaluationReport) -> set[int]:
    return checkpoint_files.evaluated_steps(train_dir, report.eval_name, made_with=report.made_with)


def _pending(train_dir: str, report: EvaluationReport, torn: Set[int], *, newest_only: bool) -> list[Checkpoint]:
    evaluated = _evaluated(train_dir, report)
    complete = [
        checkpoint for checkpoint in checkpoint_files.list_checkpoints(train_dir) if checkpoint.step not in torn
    ]
    candidates = complete[-1:] if newest_only else complete
    # By its step: after a restore from an older checkpoint the same step is not evaluated twice.
    return [checkpoint for checkpoint in candidates if checkpoint.step not in evaluated]


def _evaluate_and_publish(
    train_dir: str,
    checkpoint: Checkpoint,
    evaluator: CheckpointEvaluator,
    report: EvaluationReport,
    writer: Any,
    torn: set[int],
) -> int:
    """1 if the checkpoint was evaluated, 0 if it vanished, is torn (and goes into `torn`) or another was faster."""
    try:
        result = evaluator.evaluate(checkpoint)
    except NotEvaluatedError:
        return 0
    except UnreadableCheckpointError:
        flaw = flaw_of(checkpoint.prefix)
        if checkpoint not in checkpoint_files.list_checkpoints(train_dir):
            report.line(f"the checkpoint of step {checkpoint.step} was deleted before it could be evaluated")
            return 0
        if flaw is None:
            raise
        report.line(f"the checkpoint of step {checkpoint.step} is torn, so it is not evaluated: {flaw}")
        torn.add(checkpoint.step)
        return 0
    if checkpoint.step in _evaluated(train_dir, report):
        return 0
    _publish(train_dir, checkpoint, result, report, writer)
    return 1


def _publish(
    train_dir: str, checkpoint: Checkpoint, result: EvaluationResult, report: EvaluationReport, writer: Any
) -> None:
    report.line(
        f"epoch/eval number {checkpoint.step} | Avg_Hit@1: {result.hit_at_one:.3f} | Avg_PERR: {result.perr:.3f} | "
        f"MAP: {result.mean_average_precision:.3f} | GAP: {result.global_average_precision:.3f} | "
        f"Avg_Loss: {result.loss:.3f}"
    )
    summary = tf.compat.v1.Summary()
    scalars = {
        "Hit@1": result.hit_at_one,
        "PERR": result.perr,
        "MAP": result.mean_average_precision,
        "GAP": result.global_average_precision,
        "loss": result.loss,
    }
    for name, value in scalars.items():
        summary.value.add(tag=name, simple_value=float(value))
    writer.add_summary(summary, checkpoint.step)
    writer.flush()
    row = {"global_step": checkpoint.step, **result.to_json(), **report.made_with, "time": time.time()}
    storage.append_line(checkpoint_files.metrics_path(train_dir, report.eval_name), json.dumps(row))


def _say_end(train_dir: str, training_ended: bool, done: int, report: EvaluationReport) -> None:
    why = "training has ended" if training_ended else "one look was asked for"
    newest = checkpoint_files.latest_checkpoint(train_dir)
    if newest is None:
        report.line(f"evaluation ends: {why}, and {train_dir} holds no checkpoint")
    else:
        was = not done and newest.step in _evaluated(train_dir, report)
        before = (
            f" and was evaluated before, see {checkpoint_files.metrics_path(train_dir, report.eval_name)}"
            if was
            else ""
        )
        report.line(
            f"evaluation ends: {why}; checkpoints evaluated: {done}, the newest is of step {newest.step}{before}"
        )
