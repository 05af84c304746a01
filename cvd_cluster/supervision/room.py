"""The bundles in which the roles of a run live, and what becomes of them when a node is lost."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import ray
from ray.util.placement_group import placement_group, placement_group_table, remove_placement_group

from cvd_cluster.ray_session import control_service_answers
from cvd_cluster.reachable_nodes import reachable_nodes, unnoticed_nodes
from cvd_cluster.topology import Task, bundles_for
from estimators.errors import InfrastructureError

# Ray needs a moment to give the bundles of a lost node to another one, where there is room.
_RAYS_OWN_SECS = 10.0
# The longest that Ray needs to take a node for lost, with a margin; see reachable_nodes.
_NOTICE_SECS = 90.0
# Ray ends any process of its own, this one too and without a word of ours, after 60 s without its control service.
_UNSERVED_SECS = 20.0


class Room:
    """A placement group, with a bundle a task.

    Args:
      placement_group: Ray's; whoever made it removes it.
      tasks: in the order of its bundles.
    """

    def __init__(self, placement_group: Any, tasks: Sequence[Task]) -> None:
        self.placement_group, self.tasks = placement_group, tuple(tasks)
        self._own: Any = None
        self._unserved_since: float | None = None

    @property
    def num_workers(self) -> int:
        """Processes that train, the chief among them."""
        return sum(task.trains for task in self.tasks)

    def bundle_of(self, task: Task) -> int:
        """The number of a task's bundle."""
        return self.tasks.index(task)

    def is_whole(self) -> bool:
        """True if all that train have a bundle on a node that is there, and Ray can say so.

        Of a run, that is: nobody waits for an evaluator. Where there are evaluators alone, they have to have one.
        """
        return self._have_nodes([task for task in self.tasks if task.role != "evaluator"] or self.tasks)

    def has_node(self, task: Task) -> bool:
        """True if its bundle is on a node that is there, and Ray can say so."""
        return task in self.tasks and self._have_nodes([task])

    def _have_nodes(self, tasks: Sequence[Task]) -> bool:
        if not control_service_answers():
            return False
        homes = placement_group_table(self.placement_group)["bundles_to_node_id"]
        # Of a bundle that Ray has yet to place it is empty.
        return {homes[self.bundle_of(task)] for task in tasks} <= reachable_nodes()

    def check_served(self) -> None:
        """To be called every second or so.

        Raises:
          InfrastructureError: what hands bundles out, Ray's control service, is gone, and does not come back.
        """
        if control_service_answers():
            self._unserved_since = None
            return
        now = time.monotonic()
        self._unserved_since = now if self._unserved_since is None else self._unserved_since
        if now - self._unserved_since > _UNSERVED_SECS:
            raise InfrastructureError(
                "Ray is gone, so the run ends here",
                asked="a control service (GCS) of Ray, without which nothing can be started again",
                found=f"nothing to connect to for {_UNSERVED_SECS:g} s; it was killed (by the kernel if memory ran "
                "out), or its node is gone",
                change="bring the cluster back if it was not this command's own; the same command then goes on (if it "
                "trains: without --start_new_model)",
            )

    def wait_until_whole(self, seconds: float, *, pause: Callable[[], object]) -> bool:
        """Whether every bundle found a node within so many seconds; Ray looks for one by itself.

        Args:
          seconds: beside those that Ray needs anyway, to learn of a lost node and to use another one.
          pause: called between two looks; it calls `check_served`.
        """
        began = time.monotonic()
        until = began + seconds + _RAYS_OWN_SECS
        while not self.is_whole():
            if not control_service_answers():  # `check_served` says for how long that may be
                until = max(until, time.monotonic() + _RAYS_OWN_SECS)
            if unnoticed_nodes():  # Ray looks for no other node yet, and would give a bundle to a lost one
                until = max(until, min(time.monotonic(), began + _NOTICE_SECS) + _RAYS_OWN_SECS)
            if time.monotonic() > until:
                return False
            pause()
        return True

    def shrink(self, min_workers: int, *, pause: Callable[[], object]) -> None:
        """Finds room for as many workers as there is room for; all actors in the old bundles end.

        Ray places all bundles or none. So an evaluator is left out before a worker is.

        Raises:
          InfrastructureError: there is not even room for `min_workers`.
        """
        wanted, before = self.num_workers, self.tasks
        for count in range(wanted, min_workers - 1, -1):
            some = [task for task in before if not task.trains or task.worker_index < count]
            without_evaluators = [task for task in some if task.role != "evaluator"]
            for tasks in (some, without_evaluators) if len(some) > len(without_evaluators) else (some,):
                if tuple(tasks) != before:
                    self.keep(tasks)
                    if self.wait_until_whole(0, pause=pause):
                        return
        self.release()
        raise InfrastructureError(
            "A node was lost, and the cluster has no room for the run any more",
            asked=f"{wanted} workers, and no less than --min_workers={min_workers}",
            found=f"{sum(node['Alive'] for node in ray.nodes())} node(s) left",
            change="--placement_timeout_secs to wait longer for another node, or --min_workers; the same command "
            "without --start_new_model continues",
        )

    def keep(self, tasks: Sequence[Task]) -> None:
        """Asks for room for these of its tasks alone; all actors in the old bundles end."""
        self.release()
        self.tasks = tuple(tasks)
        self._own = self.placement_group = placement_group(bundles_for(self.tasks), strategy="PACK")

    def release(self) -> None:
        """Gives all bundles back; where nobody takes them they go with this process's connection."""
        if control_service_answers():
            remove_placement_group(self.placement_group)
        self._own = None

    def close(self) -> None:
        """Gives back what was not there at the start."""
        if self._own is not None:
            self.release()
