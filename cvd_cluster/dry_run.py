"""`--dry_run`: all checks of a run, then its plan as a table, and nothing written or started for it."""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping, Sequence

from cvd_cluster.checked_run import checked_run, planned_run
from cvd_cluster.cluster_options import ClusterOptions
from cvd_cluster.placement import check_this_machine
from cvd_cluster.ray_session import starts_ray_here
from cvd_cluster.topology import Task, make_topology
from estimators.checkpoints.torn_checkpoints import look
from estimators.experiment_options import ExperimentOptions
from estimators.inputs.worker_shards import shard_for_worker
from estimators.local_training import plan_locally
from estimators.model_graph.graph_check import graph_checked_beside
from estimators.training_plan import TrainingPlan, runs_in_one_process

# Longer than Ray needs to hand out what was given back just now.
_BUSY_SECS = 10.0


def dry_run(
    options: ExperimentOptions,
    cluster: ClusterOptions,
    *,
    start_new_model: bool,
    announce: Callable[[str], None] = print,
) -> None:
    """Does what a run does before it writes anything, and prints what it would do.

    A Ray that the run would start on this machine is not started. A cluster that it would join is: room is found on it
    and each node with a role is looked at, then all is given back; if others have the room, that is told. With a
    cluster file none is joined: the run is placed on the machines that the file would bring up.

    Raises:
      HarnessError: what the run itself would end with.
    """
    checks = ["flags", "model and loss", "--train_dir", "data files"]
    nodes: dict[Task, str] = {}
    machines = ""
    if cluster.cluster_file is not None:
        machines = _machines(cluster, options, cluster.cluster_file, announce)
        # Now: what follows needs data and train_dir, which this machine may not see.
        announce(f"{cluster.cluster_file}: {machines}")
        checks.insert(0, "--cluster_file")
    if cluster.cluster_file is None and not cluster.in_this_process and not starts_ray_here():
        with checked_run(
            options, cluster, start_new_model=start_new_model, busy_secs=_BUSY_SECS, announce=announce
        ) as run:
            plan, tasks = run.plan, run.tasks
            nodes = {task: report.view.host for task, report in run.nodes.items()}
        checks += ["room on the cluster", "versions, data and --train_dir on every node"]
    else:
        with graph_checked_beside(options) as graph_is_built:
            if cluster.in_this_process:
                plan = plan_locally(
                    options,
                    strategy=cluster.strategy,
                    num_replicas=cluster.num_replicas,
                    start_new_model=start_new_model,
                    announce=announce,
                )
                tasks = make_topology(cluster, with_evaluator=plan.eval_data is not None)
            else:
                plan, tasks = planned_run(options, cluster, start_new_model=start_new_model, announce=announce)
                if cluster.cluster_file is None:
                    check_this_machine(tasks)
                    checks.append("room on this machine")
            graph_is_built()
        nodes = {task: "" if machines else platform.node() for task in tasks}
    checks.append("the graph of model and loss")
    for line in [*_summary(options, plan, start_new_model, machines), "", *_table(tasks, plan, nodes)]:
        announce(line)
    announce(f"\nchecked: {', '.join(checks)}. Nothing was written, and nothing runs.")


def _machines(cluster: ClusterOptions, options: ExperimentOptions, path: str, announce: Callable[[str], None]) -> str:
    """What a cluster file's cluster would bring up for the run, for people; checked before all that takes longer."""
    from cvd_cluster.cluster_file import machines, read_cluster_file
    from cvd_cluster.node_types import nodes_for

    config = read_cluster_file(path, announce=announce)
    counts = nodes_for(make_topology(cluster, with_evaluator=options.eval_data_pattern is not None), config, path)
    if counts is None:
        return f"{', '.join(machines(config)) or path}; what they have is known, and checked, when they are up"
    return f"{', '.join(f'{count} {name}' for name, count in counts.items())}, brought up for this run"


def _summary(options: ExperimentOptions, plan: TrainingPlan, start_new_model: bool, machines: str) -> list[str]:
    newest = None if start_new_model else look(options.train_dir).newest
    begins = f"goes on from step {newest.step}" if newest else "begins at step 0"
    if newest and newest.step >= plan.max_steps:
        begins = f"has reached step {newest.step} already: there is nothing to train"
    replicas = plan.num_workers * plan.replicas_per_worker
    rows = {
        "model": f"{options.model}, {options.label_loss}, {options.optimizer}",
        "strategy": f"{plan.strategy}, {replicas} replica{'s' * (replicas > 1)}, {plan.examples_per_step} examples a "
        "step",
        "steps": f"{plan.max_steps}; the run {begins}",
        "train_dir": options.train_dir + (", emptied first" if start_new_model else ""),
    }
    if machines:
        rows["machines"] = machines
    if plan.warm_start_from:
        rows["initial values"] = plan.warm_start_from
    width = max(map(len, rows))
    return [f"{name.ljust(width)}  {value}" for name, value in rows.items()]


def _table(tasks: Sequence[Task], plan: TrainingPlan, nodes: Mapping[Task, str]) -> list[str]:
    rows = [("role", "node", "CPUs", "GPUs", "files", "examples")]
    in_this_process = runs_in_one_process(plan.strategy)
    for task in tasks:
        files = examples = ""
        if task.trains:
            shard = shard_for_worker(plan.train_data, task.worker_index, plan.num_workers)
            files, examples = str(len(shard.files)), str(shard.examples)
        elif task.role == "evaluator" and plan.eval_data is not None:
            files, examples = str(len(plan.eval_data.paths)), str(plan.eval_data.examples)
        cpus, gpus = ("all", "all") if in_this_process else (f"{task.cpus:g}", str(task.gpus))
        rows.append((task.name, nodes[task], cpus, gpus, files, examples))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(_aligned(row, widths)).rstrip() for row in rows]


def _aligned(row: Sequence[str], widths: Sequence[int]) -> list[str]:
    """Names to the left, numbers to the right."""
    return [
        text.ljust(width) if column < 2 else text.rjust(width)
        for column, (text, width) in enumerate(zip(row, widths, strict=True))
    ]
