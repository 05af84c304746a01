"""What a training run is: the options that decide what is learned from what, kept in `train_dir/experiment.json`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from estimators.errors import UserError
from estimators.options import Options, option, refuse_idle

_DATA, _MODEL, _LENGTH = "data", "model and loss", "how long, and how it learns"
_OUTPUT = "checkpoints, export, log"

_FIXED = ("model", "model_params", "num_classes", "image_size", "optimizer")
# Those of tf.compat.v1.train that need a learning rate and nothing else.
OPTIMIZERS = (
    "AdadeltaOptimizer",
    "AdagradOptimizer",
    "AdamOptimizer",
    "FtrlOptimizer",
    "GradientDescentOptimizer",
    "ProximalAdagradOptimizer",
    "ProximalGradientDescentOptimizer",
    "RMSPropOptimizer",
)


@dataclass(frozen=True, kw_only=True)
class ExperimentOptions(Options):
    """Options of one training run; each field is a flag of `launch.train`.

    Raises:
      UserError: a value is out of its range.
    """

    train_dir: str = option(group=_OUTPUT, help="folder for checkpoints, exports, evaluations and logs")
    train_data_pattern: str = option(group=_DATA, help="glob of the training TFRecord files; quote it")
    eval_data_pattern: str | None = option(
        None, group=_DATA, help="glob of the validation TFRecord files; given, an evaluator runs beside training"
    )
    num_readers: int = option(8, group=_DATA, at_least=1, help="files that each process reads at the same time")
    image_size: int = option(32, group=_DATA, at_least=8, help="pictures are resized to this many pixels, square")
    augment: bool = option(
        False, group=_DATA, help="mirror, crop and recolour training pictures at random, anew in each epoch"
    )
    cache: str = option(
        "auto",
        group=_DATA,
        choices=("auto", "memory", "disk", "none"),
        help="where decoded pictures are kept between epochs; auto is memory where they fit, else none",
    )
    on_bad_record: str = option(
        "fail",
        group=_DATA,
        choices=("fail", "skip"),
        help="what a damaged record or picture does: ends the run, or is left out and counted",
    )

    model: str = option(
        "LogisticModel",
        group=_MODEL,
        help="class of the model: LogisticModel, MoeModel, CnnModel, ResNetModel, or one of yours, my_models:MyModel",
    )
    model_params: str | None = option(
        None, group=_MODEL, help="arguments of the model's create_model: key=value,key=value"
    )
    label_loss: str = option(
        "CrossEntropyLoss",
        group=_MODEL,
        help="class of the loss: CrossEntropyLoss, HingeLoss, SoftmaxLoss, or one of yours, my_losses:MyLoss; not for "
        "a model that returns a loss of its own",
    )
    num_classes: int = option(2, group=_MODEL, at_least=2, help="number of classes; labels are 0 … num_classes - 1")
    regularization_penalty: float = option(
        1.0, group=_MODEL, at_least=0, help="weight of the model's regularization loss beside the label loss"
    )

    batch_size: int = option(512, group=_LENGTH, at_least=1, help="examples per step on each replica")
    num_epochs: int | None = option(
        None,
        group=_LENGTH,
        at_least=1,
        help="passes over the training data (5 if max_steps is not given either); with max_steps too, whichever comes "
        "first",
    )
    max_steps: int | None = option(
        None,
        group=_LENGTH,
        at_least=1,
        help="global step at which training ends, however many passes it takes; with num_epochs too, whichever comes "
        "first",
    )
    optimizer: str = option(
        "AdamOptimizer", group=_LENGTH, choices=OPTIMIZERS, help="class of the optimizer, in tf.compat.v1.train"
    )
    base_learning_rate: float = option(0.01, group=_LENGTH, above=0, help="learning rate at step 0")
    learning_rate_schedule: str = option(
        "exponential",
        group=_LENGTH,
        choices=("exponential", "cosine"),
        help="exponential: by learning_rate_decay; cosine: from base_learning_rate to 0 at the last step",
    )
    learning_rate_decay: float = option(
        0.95,
        group=_LENGTH,
        above=0,
        help="factor on the learning rate every learning_rate_decay_examples; exponential only",
    )
    learning_rate_decay_examples: int = option(
        4_000_000,
        group=_LENGTH,
        at_least=1,
        help="examples, over all replicas, between two decays; exponential only",
    )
    clip_gradient_norm: float = option(
        1.0, group=_LENGTH, at_least=0, help="largest norm of a variable's gradient; 0 does not clip"
    )
    warm_start_from: str | None = option(
        None,
        group=_LENGTH,
        help="train_dir or checkpoint of another run, whose variables of equal name and shape a new run begins with",
    )
    seed: int | None = option(None, group=_LENGTH, at_least=0, help="seed of all random choices; none is random")

    save_checkpoints_steps: int = option(
        100, group=_OUTPUT, at_least=0, help="global steps between two checkpoints; 0: by save_checkpoints_secs alone"
    )
    save_checkpoints_secs: float | None = option(
        None,
        group=_OUTPUT,
        above=0,
        help="longest time between two checkpoints, in seconds; none: only save_checkpoints_steps counts",
    )
    keep_checkpoint_max: int = option(
        5, group=_OUTPUT, at_least=0, help="checkpoints kept besides those not evaluated yet; 0 keeps all"
    )
    export_model_steps: int = option(
        1000, group=_OUTPUT, at_least=1, help="global steps between two exports; an export is made of a checkpoint"
    )
    log_every_n_steps: int = option(10, group=_OUTPUT, at_least=1, help="global steps between two log lines")
    log_device_placement: bool = option(
        False, group=_OUTPUT, help="print, before the first step, the device on which each operation runs"
    )

    # No flag: whether label_loss was asked for, be it by its default's name. See `model_and_loss.check_loss_is_used`.
    label_loss_given: bool = False

    @classmethod
    def from_flags(cls, given: Mapping[str, Any]) -> Self:
        """See Options."""
        made = cls(**given, label_loss_given="label_loss" in given)
        if made.learning_rate_schedule == "cosine":
            refuse_idle(
                given,
                ("learning_rate_decay", "learning_rate_decay_examples"),
                beside="--learning_rate_schedule=cosine",
                change="or --learning_rate_schedule=exponential, which decays by them",
            )
        return made

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.learning_rate_decay > 1:
            raise UserError(
                "--learning_rate_decay is out of range",
                asked=f"--learning_rate_decay={self.learning_rate_decay}",
                change="--learning_rate_decay is a factor of at most 1 (1 does not decay)",
            )
        if not self.save_checkpoints_steps and self.save_checkpoints_secs is None:
            raise UserError(
                "No checkpoint would be saved before the last step",
                asked="--save_checkpoints_steps=0",
                change="--save_checkpoints_secs, or --save_checkpoints_steps of at least 1",
            )
        self.parsed_model_params()

    def parsed_model_params(self) -> dict[str, int | float | bool | str]:
        """`model_params` as keyword arguments; a value is a number or a boolean if it reads as one.

        Raises:
          UserError: an entry is not key=value, or a key is there twice.
        """
        parsed: dict[str, int | float | bool | str] = {}
        for entry in filter(None, (self.model_params or "").split(",")):
            key, equals, value = (part.strip() for part in entry.partition("="))
            if not (equals and key.isidentifier() and value) or key in parsed:
                raise UserError(
                    "--model_params cannot be read",
                    asked=f"--model_params={self.model_params}",
                    found=f"{entry!r} is " + ("a second value for that key" if key in parsed else "not key=value"),
                    change="--model_params=key=value,key=value",
                )
            parsed[key] = _literal(value)
        return parsed

    def fixed_by_checkpoints(self) -> dict[str, object]:
        """The options that cannot change once there are checkpoints, since they decide which variables exist."""
        return {name: getattr(self, name) for name in _FIXED}


def _literal(text: str) -> int | float | bool | str:
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


@dataclass(frozen=True, kw_only=True)
class StartOptions(Options):
    """What is asked of one start of the command, and is not part of the experiment."""

    start_new_model: bool = option(
        False, group=_OUTPUT, help="delete what an earlier run left in train_dir; otherwise that run is continued"
    )
    dry_run: bool = option(
        False, group=_OUTPUT, help="check all that a run needs, print its plan, and end; writes and starts nothing"
    )
    tensorboard_port: int | None = option(
        None,
        group=_OUTPUT,
        at_least=1,
        help="port on which TensorBoard shows the run's curves while this command runs, to its own machine only",
    )
