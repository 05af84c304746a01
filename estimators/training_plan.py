"""The numbers that all tasks of one run share, decided once: which files, how many steps, examples a step."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from estimators.errors import UserError
from estimators.experiment_options import ExperimentOptions
from estimators.inputs.data_check import DataFiles

Role = Literal["chief", "worker", "ps", "evaluator"]
Strategy = Literal["local", "mirrored", "parameter_server", "multi_worker_mirrored"]


def runs_in_one_process(strategy: Strategy) -> bool:
    """True for the strategies that need no Ray."""
    return strategy in ("local", "mirrored")


DEFAULT_NUM_EPOCHS = 5


@dataclass(frozen=True)
class TrainingPlan:
    """What follows from options, data and strategy.

    Attributes:
      strategy: how the replicas work together.
      num_workers: processes that train, the chief among them.
      replicas_per_worker: copies of the model in each of them, one a GPU; more than 1 only where they are synchronous.
      train_data: the training files.
      eval_data: the validation files, or None if no evaluator runs alongside.
      examples_per_step: examples that one increment of global_step stands for. Synchronous replicas make one step
        together; under parameter_server each worker's batch is a step of its own.
      max_steps: the global step at which all replicas end.
      warm_start_from: prefix of the checkpoint whose variables a new run begins with; None for the model's own. Decided
        once: were it there for some of the synchronous workers only, they would wait for each other for ever.
    """

    strategy: Strategy
    num_workers: int
    replicas_per_worker: int
    train_data: DataFiles
    eval_data: DataFiles | None
    examples_per_step: int
    max_steps: int
    warm_start_from: str | None = None

    def to_json(self) -> dict[str, Any]:
        """A JSON object."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> TrainingPlan:
        """The plan that `to_json` gave."""

        def files(entry: Mapping[str, Any] | None) -> DataFiles | None:
            return DataFiles(tuple(entry["paths"]), tuple(entry["counts"])) if entry else None

        return cls(**{**values, "train_data": files(values["train_data"]), "eval_data": files(values["eval_data"])})


def make_plan(
    options: ExperimentOptions,
    *,
    strategy: Strategy,
    num_workers: int,
    replicas_per_worker: int = 1,
    train_data: DataFiles,
    eval_data: DataFiles | None,
    warm_start_from: str | None = None,
) -> TrainingPlan:
    """Turns epochs into steps.

    A synchronous run must take the same number of steps on every worker, or the first to run out of data leaves the
    others waiting for ever. So the examples are counted once, and each worker repeats its shard until the shared last
    step. `max_steps` given alone is the number of steps; with `num_epochs`, whichever comes first.

    Raises:
      UserError: there are fewer examples than replicas.
    """
    replicas = num_workers * replicas_per_worker
    if train_data.examples < replicas:
        raise UserError(
            "There are fewer training examples than replicas",
            asked=f"--strategy={strategy}, {replicas} replicas",
            found=f"{train_data.examples} examples",
            change="fewer replicas (--num_workers, --num_replicas), or --train_data_pattern",
        )
    examples_per_step = options.batch_size * (1 if strategy == "parameter_server" else replicas)
    epochs = options.num_epochs or (None if options.max_steps else DEFAULT_NUM_EPOCHS)
    limits = [options.max_steps] if options.max_steps else []
    if epochs:
        limits.append(math.ceil(epochs * train_data.examples / examples_per_step))
    return TrainingPlan(
        strategy,
        num_workers,
        replicas_per_worker,
        train_data,
        eval_data,
        examples_per_step,
        max_steps=min(limits),
        warm_start_from=warm_start_from,
    )
