"""How many processes of which role a training run has, and what each of them gets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self, get_args

from estimators.errors import UserError
from estimators.options import Options, option, refuse_idle
from estimators.training_plan import Strategy, runs_in_one_process

_GROUP = "cluster"


@dataclass(frozen=True, kw_only=True)
class ClusterOptions(Options):
    """Options of the distribution of one training run.

    Raises:
      UserError: a value is out of its range, or two of them contradict each other.
    """

    strategy: Strategy = option(
        "local",
        group=_GROUP,
        choices=get_args(Strategy),
        help="local: in this process; mirrored: in this process, on all its GPUs; parameter_server: asynchronous "
        "workers on Ray; multi_worker_mirrored: synchronous workers on Ray",
    )
    num_replicas: int | None = option(
        None,
        group=_GROUP,
        at_least=1,
        help="mirrored only: replicas, a GPU each; without a GPU they share the CPU; none: every GPU",
    )
    num_workers: int = option(1, group=_GROUP, at_least=1, help="processes that train, the chief among them")
    num_parameter_servers: int = option(0, group=_GROUP, at_least=0, help="parameter servers; parameter_server only")
    cpus_per_worker: float = option(1.0, group=_GROUP, above=0, help="CPUs that Ray sets aside for each process")
    gpus_per_worker: int = option(
        0, group=_GROUP, at_least=0, help="GPUs that Ray sets aside for each process that trains"
    )
    placement_timeout_secs: float | None = option(
        None,
        group=_GROUP,
        at_least=0,
        help="seconds to wait for nodes to come up, at the start and when one is lost; none: 900 where the cluster's "
        "autoscaler can bring them up, else 0",
    )
    cluster_file: str | None = option(
        None,
        group=_GROUP,
        help="with --dry_run: the file of `ray up`, which is checked, and whose machines must be able to hold the run; "
        "the cluster need not be up",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.in_this_process and (self.num_workers > 1 or self.num_parameter_servers):
            raise UserError(
                "One process cannot hold several workers",
                asked=f"--strategy={self.strategy} --num_workers={self.num_workers} "
                f"--num_parameter_servers={self.num_parameter_servers}",
                change="--strategy=multi_worker_mirrored, or --strategy=parameter_server with --num_parameter_servers",
            )
        if self.in_this_process and (self.gpus_per_worker or self.placement_timeout_secs):
            raise UserError(
                f"--strategy={self.strategy} does not use Ray",
                asked=f"--gpus_per_worker={self.gpus_per_worker} "
                f"--placement_timeout_secs={self.placement_timeout_secs}",
                change="leave them out (CUDA_VISIBLE_DEVICES says which GPUs a process sees), or --strategy to "
                "multi_worker_mirrored or parameter_server",
            )
        if self.in_this_process and self.cluster_file is not None:
            raise UserError(
                f"--strategy={self.strategy} does not use a cluster",
                asked=f"--strategy={self.strategy} --cluster_file={self.cluster_file}",
                change="--strategy to multi_worker_mirrored or parameter_server, or leave --cluster_file out",
            )
        if self.strategy != "mirrored" and self.num_replicas is not None:
            raise UserError(
                "--num_replicas is for --strategy=mirrored",
                asked=f"--strategy={self.strategy} --num_replicas={self.num_replicas}",
                change="--strategy=mirrored; or --num_workers, and --gpus_per_worker for the GPUs of each",
            )
        if self.strategy == "parameter_server" and self.gpus_per_worker > 1:
            raise UserError(
                "A worker of a parameter server trains on one GPU",
                asked=f"--strategy=parameter_server --gpus_per_worker={self.gpus_per_worker}",
                change="--gpus_per_worker=1 with more --num_workers, or --strategy=multi_worker_mirrored",
            )
        if self.strategy == "parameter_server" and not self.num_parameter_servers:
            raise UserError(
                "--strategy=parameter_server needs a parameter server",
                asked="--num_parameter_servers=0",
                change="--num_parameter_servers=1 or more",
            )
        if self.strategy == "multi_worker_mirrored" and self.num_parameter_servers:
            raise UserError(
                "--strategy=multi_worker_mirrored has no parameter servers",
                asked=f"--num_parameter_servers={self.num_parameter_servers}",
                change="leave --num_parameter_servers out, or --strategy=parameter_server",
            )

    @classmethod
    def from_flags(cls, given: Mapping[str, Any]) -> Self:
        """See Options."""
        made = cls(**given)
        if made.in_this_process:
            refuse_idle(
                given,
                ("cpus_per_worker",),
                beside=f"--strategy={made.strategy}",
                change="or --strategy=multi_worker_mirrored or parameter_server",
            )
        return made

    @property
    def in_this_process(self) -> bool:
        """True for the strategies that need no Ray."""
        return runs_in_one_process(self.strategy)
