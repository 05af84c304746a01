"""What launch.eval is asked to do."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from estimators.errors import UserError
from estimators.options import Options, option, refuse_idle

_GROUP, _WORKERS, _CHECKED = "evaluation", "several processes", "what experiment.json says too"
BATCH_SIZE = 1024
_NAME = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True, kw_only=True)
class EvaluationOptions(Options):
    """Options of `launch.eval`; all that is not here comes from `train_dir/experiment.json`.

    Raises:
      UserError: a value is out of its range, or two of them contradict each other.
    """

    train_dir: str = option(group=_GROUP, help="folder of the training run")
    eval_data_pattern: str = option(group=_GROUP, help="glob of the validation TFRecord files; quote it")
    batch_size: int = option(BATCH_SIZE, group=_GROUP, at_least=1, help="examples per batch")
    num_readers: int = option(8, group=_GROUP, at_least=1, help="files that each process reads at the same time")
    eval_name: str | None = option(
        None,
        group=_GROUP,
        help="puts the results into train_dir/eval_NAME instead of eval: for other data or another loss than those of "
        "the run's evaluations so far",
    )
    run_once: bool = option(False, group=_GROUP, help="evaluate the newest checkpoint, if it is new, and end")
    on_bad_record: str = option(
        "fail",
        group=_GROUP,
        choices=("fail", "skip"),
        help="what a damaged record does: ends evaluation, or is left out",
    )

    eval_workers: int = option(
        1,
        group=_WORKERS,
        at_least=1,
        help="processes that share the batches of each checkpoint, with the result of one; 1 is this process, more "
        "are started on Ray",
    )
    gpus_per_worker: int = option(
        0, group=_WORKERS, at_least=0, help="GPUs that Ray sets aside for each of eval_workers; with 0 they see none"
    )
    placement_timeout_secs: float | None = option(
        None,
        group=_WORKERS,
        at_least=0,
        help="seconds to wait for nodes for eval_workers; none: 900 where the cluster's autoscaler can bring them up, "
        "else 0",
    )

    model: str | None = option(None, group=_CHECKED, help="class of the model; another than the run's is an error")
    label_loss: str | None = option(
        None,
        group=_CHECKED,
        help="class of the loss to evaluate with, instead of the run's; not for a model that returns a loss of its own",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.eval_name is not None and not _NAME.fullmatch(self.eval_name):
            raise UserError(
                "The name of an evaluation becomes part of a folder's",
                asked=f"--eval_name={self.eval_name}",
                change="--eval_name to letters, digits, - and _",
            )

    @classmethod
    def from_flags(cls, given: Mapping[str, Any]) -> Self:
        """See Options."""
        made = cls(**given)
        if made.eval_workers == 1:
            refuse_idle(
                given,
                ("gpus_per_worker", "placement_timeout_secs"),
                beside="--eval_workers=1",
                change="this process takes the GPUs that CUDA_VISIBLE_DEVICES lets it see; or --eval_workers of at "
                "least 2",
            )
        return made
