"""How often a distributed run is mended, how long it is waited for, and when it gives up."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from cvd_cluster.cluster_options import ClusterOptions
from estimators.errors import UserError
from estimators.options import Options, option

_GROUP = "supervision"


@dataclass(frozen=True, kw_only=True)
class SupervisionOptions(Options):
    """Options of what happens when a process, an actor or a node of a run dies or stands still.

    Raises:
      UserError: a value is out of its range.
    """

    max_process_restarts: int = option(
        10,
        group=_GROUP,
        at_least=0,
        help="restarts in place of dead training processes, in total (parameter_server only); the evaluator has as "
        "many of its own",
    )
    max_generations: int = option(
        10, group=_GROUP, at_least=0, help="times that all training processes are started anew from a checkpoint"
    )
    min_workers: int | None = option(
        None,
        group=_GROUP,
        at_least=1,
        help="fewest workers, with the chief, to go on with if a lost node is not replaced within "
        "placement_timeout_secs; none: all num_workers",
    )
    orphan_timeout_secs: float = option(
        10.0,
        group=_GROUP,
        at_least=6,  # more than a look at its stacks may keep a role's actor from hearing anything
        help="a role that has not heard from the command for so many seconds ends its process",
    )
    hang_timeout_secs: float = option(
        600.0,
        group=_GROUP,
        above=0,
        help="a training process without a step, or an evaluator without a batch, for so many seconds counts as hung",
    )
    final_evaluation_timeout_secs: float = option(
        3600.0, group=_GROUP, above=0, help="seconds after training within which all must be evaluated"
    )

    def check_fits(self, cluster: ClusterOptions) -> None:
        """Refuses what `cluster` has no use for.

        Raises:
          UserError: the strategy needs no supervision; or min_workers is more than num_workers.
        """
        changed = [field.name for field in dataclasses.fields(self) if getattr(self, field.name) != field.default]
        # An evaluator runs beside each strategy.
        changed = [name for name in changed if name != "final_evaluation_timeout_secs"]
        if cluster.in_this_process and changed:
            raise UserError(
                f"--strategy={cluster.strategy} has no processes to supervise",
                asked=" ".join(f"--{name}={getattr(self, name)}" for name in changed),
                change="leave them out, or --strategy=multi_worker_mirrored or --strategy=parameter_server",
            )
        if self.min_workers is not None and self.min_workers > cluster.num_workers:
            raise UserError(
                "--min_workers is more than there are workers",
                asked=f"--min_workers={self.min_workers} --num_workers={cluster.num_workers}",
                change="--min_workers to at most --num_workers",
            )
