"""What a model and a loss returned, checked while the graph is built, for the person who wrote them."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from estimators.errors import UserError
from estimators.experiment_options import ExperimentOptions


def checked_predictions(output: Any, options: ExperimentOptions, *, batch_size: int | None) -> Any:
    """The predictions as float32 [B, 1] or [B, num_classes].

    Args:
      output: what `create_model` returned.
      options: of the run.
      batch_size: of the pictures; None if that is known only when the graph runs.

    Raises:
      UserError: there are none, or they have another shape.
    """
    if not isinstance(output, dict) or "predictions" not in output:
        found = f"keys {sorted(output)}" if isinstance(output, dict) else type(output).__name__
        raise UserError(
            f"{options.model}.create_model returns no predictions",
            asked=f"--model={options.model}",
            found=found,
            change='return {"predictions": tensor} from create_model',
        )
    predictions = tf.convert_to_tensor(output["predictions"])
    allowed = {options.num_classes} | ({1} if options.num_classes == 2 else set())
    shape = predictions.shape
    fits = shape.rank == 2 and shape[1] in allowed and (batch_size is None or shape[0] in (None, batch_size))
    if not fits:
        wanted = " or ".join(f"[B, {columns}]" for columns in sorted(allowed))
        pictures = f" for B = {batch_size} pictures" if batch_size else ""
        raise UserError(
            f"{options.model}.create_model returns predictions of the wrong shape",
            asked=f"--model={options.model} --num_classes={options.num_classes}: {wanted}{pictures}",
            found=f"shape {shape}",
            change="the model's last layer, or --num_classes",
        )
    return tf.cast(predictions, tf.float32)


def check_loss(loss: Any, options: ExperimentOptions, *, own: bool) -> None:
    """Refuses a loss that is no scalar; `own` is the model's.

    Raises:
      UserError: it is not.
    """
    culprit = f"{options.model}.create_model" if own else f"{options.label_loss}.calculate_loss"
    _check_scalar(loss, "loss", culprit, options)


def check_own_loss(output: dict[str, Any], options: ExperimentOptions) -> None:
    """Refuses a model that returns a loss of its own in training and none in evaluation, where another would be shown.

    Raises:
      UserError: it does.
    """
    if "loss" not in output:
        raise UserError(
            f"{options.model}.create_model returns a loss in training and none in evaluation",
            asked=f"--model={options.model}",
            found=f"keys {sorted(output)} with is_training=False",
            change="return the loss whatever is_training says, or leave it to --label_loss",
        )


def own_penalties(output: dict[str, Any], options: ExperimentOptions) -> list[Any]:
    """The model's `regularization_loss`, if it returned one.

    Raises:
      UserError: it is no scalar.
    """
    if "regularization_loss" not in output:
        return []
    penalty = output["regularization_loss"]
    _check_scalar(penalty, "regularization_loss", f"{options.model}.create_model", options)
    return [penalty]


def own_updates(output: dict[str, Any], options: ExperimentOptions) -> list[Any]:
    """The model's `update_ops`, if it returned some.

    Raises:
      UserError: they are no list.
    """
    updates = output.get("update_ops", ())
    if not isinstance(updates, (list, tuple)):
        raise UserError(
            f"{options.model}.create_model returns update_ops that are no list",
            asked=f"--model={options.model}",
            found=type(updates).__name__,
            change='"update_ops": [operation, …]',
        )
    return list(updates)


def check_trainable(options: ExperimentOptions) -> None:
    """Refuses a model without a variable, of which training could make nothing.

    Raises:
      UserError: the graph has no trainable variable.
    """
    if not tf.compat.v1.trainable_variables():
        raise UserError(
            f"{options.model} has no variable to train",
            asked=f"--model={options.model}",
            change="make variables in create_model, by layers or by tf.compat.v1.get_variable",
        )


def _check_scalar(value: Any, what: str, culprit: str, options: ExperimentOptions) -> None:
    if not tf.is_tensor(value) or value.shape.rank != 0:
        raise UserError(
            f"{culprit} returns no scalar {what}",
            asked=f"--model={options.model} --label_loss={options.label_loss}",
            found=f"shape {value.shape}" if tf.is_tensor(value) else type(value).__name__,
            change=f"return a scalar tensor, such as the mean over the batch, from {culprit}",
        )
