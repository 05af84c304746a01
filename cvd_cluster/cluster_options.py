"""How many processes of which role a training run has, and what each of them gets."""

from __future__ import annotations

from dataclasses import dataclass

from estimators.errors import UserError
from estimators.options import Options, option

_GROUP = "cluster"


@dataclass(frozen=True, kw_only=True)
class ClusterOptions(Options):
    """Options of the distribution of one training run.

    Raises:
      UserError: a value is out of its range, or two of them contradict each other.
    """

    strategy: str = option(
        "local",
        group=_GROUP,
        choices=("local", "parameter_server", "multi_worker_mirrored"),
        help="local: in this process; on Ray: parameter_server, asynchronous, or multi_worker_mirrored, synchronous",
    )
    num_workers: int = option(1, group=_GROUP, at_least=1, help="training replicas, the chief among them")
    num_parameter_servers: int = option(0, group=_GROUP, at_least=0, help="parameter servers; parameter_server only")
    cpus_per_worker: float = option(1.0, group=_GROUP, above=0, help="CPUs that Ray sets aside for each process")
    gpus_per_worker: int = option(
        0, group=_GROUP, at_least=0, help="GPUs that Ray sets aside for each training replica"
    )
    placement_timeout_secs: float = option(
        0.0, group=_GROUP, at_least=0, help="seconds to wait for nodes of an autoscaling cluster to come up"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.strategy == "local" and (self.num_workers > 1 or self.num_parameter_servers):
            raise UserError(
                "One process cannot hold several workers",
                asked=f"--strategy=local --num_workers={self.num_workers} "
                f"--num_parameter_servers={self.num_parameter_servers}",
                change="--strategy=multi_worker_mirrored, or --strategy=parameter_server with --num_parameter_servers",
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
