"""Do this model and this loss belong together, and to this harness? Told before the first step, with what does."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Sequence
from typing import Any

from estimators.class_lookup import built_in_names, load_class
from estimators.errors import UserError
from estimators.experiment_options import ExperimentOptions

_MISSPELT = 0.8  # difflib's likeness: one or two letters in a word


def check_scores(options: ExperimentOptions, model: Any, columns: int) -> None:
    """Refuses one column of scores: its classes are told apart at 0.5, in metrics and in a submission.

    Raises:
      UserError: the model predicts such a column.
    """
    if not model.predicts_probabilities and columns == 1:
        raise UserError(
            f"{options.model} predicts one column of scores, which no threshold tells apart",
            asked=f"--model={options.model}",
            found="predicts_probabilities = False and predictions of shape [B, 1]",
            change="a sigmoid on the model's last layer, or one column per class",
        )


def check_fit(options: ExperimentOptions, model: Any, label_loss: Any, columns: int) -> None:
    """Refuses a loss that cannot be taken of what the model predicts.

    Args:
      options: of the run.
      model: a BaseModel.
      label_loss: a BaseLoss.
      columns: of the model's predictions.

    Raises:
      UserError: they do not fit; the losses that do are named.
    """
    reason = misfit(model, label_loss, columns)
    if reason:
        fitting = [
            name for name in built_in_names("label_loss") if not misfit(model, load_class("label_loss", name), columns)
        ]
        raise UserError(
            f"{options.label_loss} does not fit {options.model}",
            asked=f"--model={options.model} --label_loss={options.label_loss} --num_classes={options.num_classes}",
            found=reason,
            change=f"--label_loss to {' or '.join(fitting)}, which fit {options.model}",
        )


def check_loss_is_used(options: ExperimentOptions) -> None:
    """Refuses a loss that was asked for beside a model that returns one of its own, which takes its place.

    Raises:
      UserError: --label_loss was given.
    """
    if options.label_loss_given:
        raise UserError(
            f"{options.model} returns a loss of its own, so --label_loss would do nothing",
            asked=f"--model={options.model} --label_loss={options.label_loss}",
            found='"loss" in what create_model returns',
            change='leave --label_loss out; or, in the model, return no "loss"',
        )


def misfit(model: Any, label_loss: Any, columns: int) -> str:
    """Why the loss cannot be taken of the model's predictions; "" if it can."""
    if columns < label_loss.min_columns:
        return f"predictions of shape [B, {columns}]; the loss compares at least {label_loss.min_columns} columns"
    if label_loss.needs_probabilities and not model.predicts_probabilities:
        return "predictions outside [0, 1] (predicts_probabilities = False); the loss takes logarithms of probabilities"
    return ""


def check_calls(options: ExperimentOptions, model: Any, label_loss: Any) -> None:
    """Refuses methods that do not take what they are called with, and --model_params that nobody reads.

    A model of the user's own with `**params` may read any parameter, but one that is nearly called like one it names is
    a slip; the built-in ones say which they have.

    Raises:
      UserError: an argument is missing in a method, or there is no such parameter; those that there are, are named.
    """
    given = options.parsed_model_params()
    standard = {"num_classes": options.num_classes, "is_training": True}
    if taken := sorted(set(given) & {"model_input", *standard}):
        raise UserError(
            f"{taken[0]} is not a hyper-parameter: every model is called with it",
            asked=f"--model_params={options.model_params}",
            change="--num_classes" if taken[0] == "num_classes" else "another name for the model's own parameter",
        )
    named = inspect.signature(model.create_model).parameters
    _check_call(
        f"{options.model}.create_model",
        model.create_model,
        ("model_input",),
        {**standard, **{name: value for name, value in given.items() if name in named}},
    )
    _check_call(f"{options.label_loss}.calculate_loss", label_loss.calculate_loss, ("predictions", "labels"), {})
    parameters = named.values()
    own = [one.name for one in parameters if one.kind is not one.VAR_KEYWORD]
    names = [name for name in own if name not in ("model_input", *standard)]
    unknown = sorted(set(given) - set(names))
    if ":" in options.model and any(one.kind is one.VAR_KEYWORD for one in parameters):
        unknown = [name for name in unknown if _looks_misspelt(name, names)]
    if unknown:
        raise UserError(
            f"{options.model} has no parameter {', '.join(unknown)}",
            asked=f"--model_params={options.model_params}",
            found=f"its parameters are {', '.join(names)}" if names else "it has no parameters",
            change="--model_params",
        )


def _looks_misspelt(name: str, names: Sequence[str]) -> bool:
    def base(of: str) -> str:
        return of.rstrip("0123456789").rstrip("_")

    close = difflib.get_close_matches(name, names, cutoff=_MISSPELT)
    # `units` and `units_2` are two parameters, not one in two spellings.
    return bool(close) and not any(base(name) == base(one) for one in close)


def _check_call(name: str, method: Any, positional: tuple[str, ...], keywords: dict[str, Any]) -> None:
    try:
        inspect.signature(method).bind(*positional, **keywords)
    except TypeError as error:
        wanted = ", ".join(("self", *positional, *(f"{key}={value}" for key, value in keywords.items()), "**params"))
        raise UserError(
            f"{name} does not take the arguments it is called with",
            asked=name,
            found=str(error),
            change=f"def {name.rpartition('.')[2]}({wanted})",
        ) from None
