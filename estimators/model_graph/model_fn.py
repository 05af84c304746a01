"""Model + loss + optimizer -> the EstimatorSpec of each mode."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from estimators.checkpoints.warm_start import take_initial_values
from estimators.class_lookup import load_class
from estimators.experiment_options import ExperimentOptions
from estimators.hooks.agreed_requests import AgreedRequests
from estimators.hooks.step_report import StepReportHook, StepTensors
from estimators.model_graph.keras_layers import penalties_of, recorded_layers, updates_of
from estimators.model_graph.model_and_loss import check_calls, check_fit, check_loss_is_used, check_scores
from estimators.model_graph.model_output import (
    check_loss,
    check_own_loss,
    check_trainable,
    checked_predictions,
    own_penalties,
    own_updates,
)
from estimators.model_graph.optimizers import learning_rate_at, minimize
from estimators.model_graph.penalties import collected_penalties
from estimators.model_graph.tf_slim_compat import make_tf_slim_usable
from estimators.train_dir.exports import MOST_CLASSES, OUTPUTS, SIGNATURE


@dataclass(frozen=True)
class StepReportSettings:
    """What the log line of a training step needs beside the tensors.

    Attributes:
      examples_per_step: examples that one global step stands for.
      train_dir: where the scalars for TensorBoard go.
      line: called with each line.
    """

    examples_per_step: int
    train_dir: str
    line: Callable[[str], None]


def make_model_fn(
    options: ExperimentOptions,
    *,
    examples_per_step: int,
    max_steps: int = 1,
    warm_start_from: str | None = None,
    requests: AgreedRequests | None = None,
    step_report: StepReportSettings | None = None,
) -> Callable[..., Any]:
    """The `model_fn` of an Estimator.

    Args:
      options: of the run.
      examples_per_step: examples that one global step stands for, for the learning rate.
      max_steps: the step at which training ends, for the learning rate.
      warm_start_from: prefix of the checkpoint that gives training its initial values; None for the model's own.
      requests: given (where several processes train in step), its signal is summed with the gradients.
      step_report: given (on the chief), training steps are reported.

    Raises:
      UserError: there is no such model or loss, or they do not fit; the latter when the function is called.
    """
    model_class = load_class("model", options.model)
    label_loss = load_class("label_loss", options.label_loss)()
    params = options.parsed_model_params()
    make_tf_slim_usable()

    def learning_rate(global_step: Any) -> Any:
        return learning_rate_at(global_step, options, examples_per_step=examples_per_step, max_steps=max_steps)

    trains_by_own_loss = False

    def model_fn(features: Any, labels: Any, mode: str) -> Any:
        nonlocal trains_by_own_loss
        training = mode == tf.estimator.ModeKeys.TRAIN
        image = features["image"]
        with recorded_layers(is_training=training, seed=options.seed) as layers:
            # Anew for each graph and replica: so a model may make its Keras layers in __init__.
            model = model_class()
            check_calls(options, model, label_loss)
            output = model.create_model(image, num_classes=options.num_classes, is_training=training, **params)
        predictions = checked_predictions(output, options, batch_size=image.shape[0])
        check_scores(options, model, predictions.shape[1])
        if mode == tf.estimator.ModeKeys.PREDICT:
            return _predict_spec(mode, features, predictions, are_scores=not model.predicts_probabilities)
        targets = as_targets(labels, predictions.shape[1])
        trains_by_own_loss |= training and "loss" in output
        if trains_by_own_loss:
            check_own_loss(output, options)
        if "loss" in output:
            check_loss_is_used(options)
            loss = output["loss"]
        else:
            check_fit(options, model, label_loss, predictions.shape[1])
            loss = label_loss.calculate_loss(predictions, targets)
        check_loss(loss, options, own="loss" in output)
        if not training:
            outputs = {"predictions": predictions, "labels": targets}
            return tf.estimator.EstimatorSpec(mode, predictions=outputs, loss=loss)
        check_trainable(options)
        if warm_start_from is not None:
            take_initial_values(warm_start_from, line=step_report.line if step_report else None)
        global_step = tf.compat.v1.train.get_or_create_global_step()
        rate = learning_rate(global_step)
        optimizer = getattr(tf.compat.v1.train, options.optimizer)(rate)
        penalties = [*collected_penalties(optimizer, image), *penalties_of(layers)]
        total_loss = _with_penalties(loss, [*penalties, *own_penalties(output, options)], options)
        with tf.control_dependencies(_updates(layers, own_updates(output, options))):
            signal = requests.new_signal() if requests else None
            step = minimize(
                optimizer, total_loss, global_step=global_step, clip_norm=options.clip_gradient_norm, signal=signal
            )
        if requests:
            requests.agree_by(step.total)
        hooks = _report_hooks(StepTensors(predictions, targets, loss, rate), options, step_report)
        return tf.estimator.EstimatorSpec(mode, loss=total_loss, train_op=step.train_op, training_hooks=hooks)

    return model_fn


def as_targets(labels: Any, columns: int) -> Any:
    """int64 [B] -> float32 [B, 1] for one column, one-hot [B, K] for K columns."""
    if columns == 1:
        return tf.cast(labels, tf.float32)[:, tf.newaxis]
    return tf.one_hot(labels, columns, dtype=tf.float32)


def _with_penalties(loss: Any, penalties: list[Any], options: ExperimentOptions) -> Any:
    if penalties and options.regularization_penalty:
        return loss + options.regularization_penalty * tf.add_n(penalties)
    return loss


def _updates(layers: list[Any], own: list[Any]) -> list[Any]:
    collected = tf.compat.v1.get_collection(tf.compat.v1.GraphKeys.UPDATE_OPS)
    # By identity: == between tensors is an operation.
    return list({id(u): u for u in (*collected, *updates_of(layers), *own)}.values())


def _report_hooks(tensors: StepTensors, options: ExperimentOptions, report: StepReportSettings | None) -> list[Any]:
    if report is None:
        return []
    hook = StepReportHook(
        tensors,
        every_n_steps=options.log_every_n_steps,
        examples_per_step=report.examples_per_step,
        train_dir=report.train_dir,
        line=report.line,
    )
    return [hook]


def _predict_spec(mode: str, features: Any, predictions: Any, *, are_scores: bool) -> Any:
    # One sigmoid column becomes two, so that the output says the same for every model: classes, the likeliest first.
    columns = tf.concat([1 - predictions, predictions], axis=1) if predictions.shape[1] == 1 else predictions
    best = tf.math.top_k(columns, k=min(columns.shape[1], MOST_CLASSES))
    # What is exported are probabilities. The classes are those of the scores themselves, whose order softmax keeps but
    # for the last bits.
    values = tf.gather(tf.nn.softmax(columns), best.indices, batch_dims=1) if are_scores else best.values
    outputs = dict(zip(OUTPUTS, (features["image_id"], best.indices, values), strict=True))
    return tf.estimator.EstimatorSpec(
        mode, predictions=outputs, export_outputs={SIGNATURE: tf.estimator.export.PredictOutput(outputs)}
    )
