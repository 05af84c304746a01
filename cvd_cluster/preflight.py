"""What a cluster that was joined must be like, looked at on every node that gets a role, before it gets it.

    look = NodeLook(options, plan)
    with placed(tasks, …) as group:
        reports = look(tasks, group)

On a Ray that was started here every role is on this machine, where all of it is checked already.
"""

from __future__ import annotations

import contextlib
import os
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from cvd_cluster.node_look import BUCKET_RIGHTS, NodeView, check_view, on_nodes, view_of
from cvd_cluster.topology import Task
from estimators import storage
from estimators.errors import UserError, one_line
from estimators.experiment_options import ExperimentOptions
from estimators.training_plan import TrainingPlan

# A network file system may show a file that another machine wrote a moment later.
_SEEN_SECS = 5.0


@dataclass(frozen=True)
class NodeReport:
    """What a node said of itself and of train_dir.

    Attributes:
      view: its versions, and the data files that it cannot read.
      train_dir_trouble: why train_dir is not the folder that this command sees; "" if it is.
    """

    view: NodeView
    train_dir_trouble: str


class LookAtNodes(Protocol):
    """A look at the nodes of tasks."""

    def __call__(
        self, tasks: Sequence[Task], group: Any, pause: Callable[[], object] = ..., /
    ) -> Mapping[Task, NodeReport]:
        """See NodeLook."""


def _no_pause() -> None:
    pass


class NodeLook:
    """Has each node that got a role report, once, and compares that with this machine. Leaves nothing in train_dir.

    Args:
      options: of the run.
      plan: with the data files.
    """

    def __init__(self, options: ExperimentOptions, plan: TrainingPlan) -> None:
        self._options, self._plan = options, plan
        self._reports: dict[str, NodeReport] = {}

    def __call__(
        self, tasks: Sequence[Task], group: Any, pause: Callable[[], object] = _no_pause, /
    ) -> dict[Task, NodeReport]:
        """What the node of each task said that has one; only those are looked at that were not before.

        Args:
          tasks: in the order of the placement group's bundles.
          group: Ray's placement group.
          pause: called each second while they take their time; what it raises ends the look.

        Raises:
          UserError: a node has other versions, cannot read a data file, or sees another train_dir.
          InfrastructureError: a node does not answer.
        """
        import ray

        nodes: dict[int, str] = ray.util.placement_group_table(group)["bundles_to_node_id"]
        # One look a node: the first of its roles takes it.
        first = {nodes[index]: tasks[index] for index in reversed(range(len(tasks)))}
        new = {node: task for node, task in first.items() if node and node not in self._reports}
        if new:
            with _token_in(self._options.train_dir) as folder:
                eval_data = self._plan.eval_data
                paths = (*self._plan.train_data.paths, *(eval_data.paths if eval_data else ()))
                found = _reports(new, group, tasks, folder, paths, pause)
                reports = {node: _with_own_look(report, folder, node) for node, report in found.items()}
            _check(reports, self._options)
            self._reports.update(reports)
        return {task: self._reports[nodes[index]] for index, task in enumerate(tasks) if nodes[index]}


def _reports(
    first: Mapping[str, Task],
    group: Any,
    tasks: Sequence[Task],
    folder: str,
    paths: Sequence[str],
    pause: Callable[[], object],
) -> dict[str, NodeReport]:
    from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

    return on_nodes(
        _look,
        {node: (folder, node, tuple(paths)) for node in first},
        {node: PlacementGroupSchedulingStrategy(group, tasks.index(task)) for node, task in first.items()},
        names=[task.name for task in first.values()],
        pause=pause,
    )


def _look(folder: str, node: str, paths: Sequence[str]) -> NodeReport:
    """Runs on a node."""
    return NodeReport(view_of(paths), _exchange_tokens(folder, node))


def _exchange_tokens(folder: str, node: str) -> str:
    """Reads the token of the command and writes one for it; the trouble, if there is some."""
    try:
        if not _seen(os.path.join(folder, "command")):
            return "what this command wrote there is not seen"
        storage.write_text(os.path.join(folder, node), node)
    except Exception as error:
        return one_line(error)
    return ""


def _seen(path: str) -> bool:
    until = time.monotonic() + _SEEN_SECS
    while not storage.exists(path):
        if time.monotonic() > until:
            return False
        time.sleep(0.2)
    return True


def _with_own_look(report: NodeReport, folder: str, node: str) -> NodeReport:
    if report.train_dir_trouble or _seen(os.path.join(folder, node)):
        return report
    return NodeReport(report.view, "what was written there is not seen by this command")


@contextlib.contextmanager
def _token_in(train_dir: str) -> Iterator[str]:
    """A folder with a token in train_dir; afterwards all that was made for it is gone, train_dir itself if need be."""
    made: list[str] = []
    path = train_dir
    while not storage.is_remote(path) and path and not os.path.isdir(path):
        made.append(path)
        path = os.path.dirname(path)
    folder = os.path.join(train_dir, f".preflight-{uuid.uuid4().hex[:8]}")
    try:
        storage.make_dirs(folder)
        storage.write_text(os.path.join(folder, "command"), "")
        yield folder
    finally:
        with contextlib.suppress(OSError):
            storage.delete(folder)
        for path in made:
            with contextlib.suppress(OSError):  # somebody may have put something there meanwhile
                os.rmdir(path)


def _check(reports: Mapping[str, NodeReport], options: ExperimentOptions) -> None:
    asked = f"--train_data_pattern={options.train_data_pattern}"
    if options.eval_data_pattern:
        asked += f" --eval_data_pattern={options.eval_data_pattern}"
    for report in reports.values():
        check_view(report.view, asked=asked, what="the data")
        if report.train_dir_trouble and storage.is_remote(options.train_dir):
            raise UserError(
                f"{report.view.host} cannot use the bucket of --train_dir, though this machine can",
                asked=f"--train_dir={options.train_dir}",
                found=report.train_dir_trouble,
                change=BUCKET_RIGHTS,
            )
        if report.train_dir_trouble:
            raise UserError(
                f"--train_dir is not the same folder on {report.view.host} as on this machine",
                asked=f"--train_dir={options.train_dir}",
                found=report.train_dir_trouble,
                change="--train_dir to a folder that every node can write and read: a network file system at the same "
                "place, or gs://",
            )
