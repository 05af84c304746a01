"""Stand-ins that check what they are given."""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import IO, Any

from cvd_cluster.preflight import NodeReport
from cvd_cluster.roles.role_status import ActorLoss, RoleFailure, RolePhase, RoleStatus
from cvd_cluster.supervision.snapshot import GroupSnapshot
from cvd_cluster.topology import Task
from estimators.errors import HarnessError, InfrastructureError
from estimators.processes.child_process import ChildProcess
from estimators.training_plan import TrainingPlan

# Where a role's process may go from each phase.
_NEXT = {
    RolePhase.STARTING: set(RolePhase),
    RolePhase.TRAINING: set(RolePhase) - {RolePhase.STARTING},
    RolePhase.DONE: {RolePhase.DONE},
    RolePhase.FAILED: {RolePhase.FAILED},
    RolePhase.LOST: {RolePhase.LOST},
}


def failure(
    kind: str = "KeyError",
    *,
    time: float = 100.0,
    is_echo: bool = False,
    is_tensorflows: bool = False,
    parts: tuple[str, str, str] | None = None,
    message: str = "the author forgot something",
) -> RoleFailure:
    """A Python error of a role."""
    traceback = f"Traceback (most recent call last):\n{kind}: {message}\n"
    return RoleFailure(kind, message, parts, traceback, is_echo, is_tensorflows or is_echo, time)


def status(task: Task, phase: RolePhase = RolePhase.TRAINING, **values: Any) -> RoleStatus:
    """A snapshot of one role, consistent with its phase."""
    base = RoleStatus(task.name, phase, generation=1, pid=4711, address="127.0.0.2:4000")
    if phase is not RolePhase.STARTING and task.trains:
        base = dataclasses.replace(base, global_step=3, local_steps=3, first_step_time=50.0)
    exit_codes = {RolePhase.DONE: 0, RolePhase.FAILED: 1, RolePhase.LOST: -9}
    base = dataclasses.replace(base, exit_code=exit_codes.get(phase))
    if phase is RolePhase.FAILED and "failure" not in values:
        values["failure"] = failure()
    return dataclasses.replace(base, **values)


class FakeGroup:
    """A role group, and its room, whose polls follow a script; the last snapshot repeats.

    A new process of a role has another process id, and starts anew.

    Args:
      tasks: of the run.
      script: for each poll what has changed: task -> its new status, or a function that is called first.
      most_polls: an assertion fails after so many polls, since nothing ended the loop.
    """

    def __init__(
        self,
        tasks: Sequence[Task],
        script: Iterable[Mapping[Task, RoleStatus] | Callable[[], Mapping[Task, RoleStatus]]],
        *,
        most_polls: int = 200,
    ) -> None:
        assert len({task.name for task in tasks}) == len(tasks)
        self._statuses = {task: status(task, RolePhase.STARTING) for task in tasks}
        self._script = iter(script)
        self._polls_left = most_polls
        self.time = 1000.0
        self.evaluator_starts = 0
        self.done: list[str] = []
        self.tasks, self.placement_group, self.whole = tuple(tasks), object(), True
        self.served = True
        self.homeless: set[Task] = set()
        """Those whose bundle has no node."""
        self.bad_nodes: list[HarnessError] = []
        """What is found at the next looks at the nodes."""
        self.bad_evaluator_node: HarnessError | None = None
        """What is found at each look at that of an evaluator."""
        self._pid = 4711
        self.start_secs = 0.0
        """How long its processes take to be there."""
        self.begun: list[float] = []
        """When each generation began."""

    def poll(self) -> GroupSnapshot:
        self._polls_left -= 1
        assert self._polls_left > 0, "the supervisor does not end"
        step = next(self._script, {})
        for task, new in (step() if callable(step) else step).items():
            new = dataclasses.replace(new, pid=self._statuses[task].pid)
            self._check(task, new)
            self._statuses[task] = new
        snapshot = GroupSnapshot(self.time, self.time, dict(self._statuses))
        self._statuses = {task: dataclasses.replace(old, lines=()) for task, old in self._statuses.items()}
        return snapshot

    def _check(self, task: Task, new: RoleStatus) -> None:
        old = self._statuses[task]
        assert new.name == task.name and new.phase in _NEXT[old.phase], (old, new)
        assert (new.exit_code is None) != new.phase.is_terminal or new.phase is RolePhase.LOST, new
        assert (new.failure is not None) == (new.phase is RolePhase.FAILED), new

    def _renew(self, task: Task) -> None:
        self._pid += 1
        self._statuses[task] = status(task, RolePhase.STARTING, pid=self._pid)

    def begin_generation(
        self,
        number: int,
        tasks: Sequence[Task],
        plan: TrainingPlan,
        placement_group: object,
        *,
        moved: bool = False,
        pause: Callable[[], object],
    ) -> None:
        assert tuple(tasks) == self.tasks and placement_group is self.placement_group
        assert plan.num_workers == sum(task.trains for task in tasks) and moved == any(
            done == "shrunk" or done.startswith("keep") for done in self.done[-1:]
        )
        self.done.append(f"generation {number}")
        self.begun.append(self.time)
        if number > 1:
            for task in tasks:
                if task.role != "evaluator" or moved:
                    self._renew(task)
        until = self.time + self.start_secs
        while self.time < until:
            pause()

    def restart(self, task: Task, plan: TrainingPlan, number: int) -> None:
        assert self._statuses[task].loss is None, "its actor is gone"
        self.done.append(f"restart {task.name}")
        self._renew(task)

    def replace(self, task: Task, plan: TrainingPlan, number: int, placement_group: object, bundle: int) -> None:
        assert self.tasks[bundle] == task and placement_group is self.placement_group
        self.done.append(f"replace {task.name}")
        self._renew(task)

    def dump_stacks(self, tasks: Collection[Task]) -> dict[Task, str]:
        whose = "" if set(tasks) == set(self._statuses) else " of " + ", ".join(task.name for task in tasks)
        self.done.append(f"stacks{whose}")
        return dict.fromkeys(tasks, "its stacks are in x.log")

    def look_at_nodes(
        self, tasks: Sequence[Task], placement_group: object, pause: Callable[[], object] = lambda: None, /
    ) -> dict[Task, NodeReport]:
        assert tuple(tasks) == self.tasks[: len(tasks)] and placement_group is self.placement_group
        if self.bad_evaluator_node is not None and any(task.role == "evaluator" for task in tasks):
            raise self.bad_evaluator_node
        if self.bad_nodes:
            self.done.append("bad node")
            raise self.bad_nodes.pop()
        return {}

    def losses(self) -> list[ActorLoss]:
        return [one.loss for one in self._statuses.values() if one.loss is not None]

    def end_processes(self) -> None:
        """As the kernel tells it of processes that SIGKILL ends."""
        self.done.append("end")
        for task, old in self._statuses.items():
            if task.role != "evaluator" and not old.phase.is_terminal:
                self._statuses[task] = dataclasses.replace(
                    old, phase=RolePhase.LOST, exit_code=-9, ended_by_command=True
                )

    def request_stop(self) -> None:
        self.done.append("stop")

    @property
    def num_workers(self) -> int:
        return sum(task.trains for task in self.tasks)

    def bundle_of(self, task: Task) -> int:
        return self.tasks.index(task)

    def check_served(self) -> None:
        if not self.served:
            raise InfrastructureError("Ray is gone")

    def is_whole(self) -> bool:
        return self.whole

    def has_node(self, task: Task) -> bool:
        return task in self.tasks and task not in self.homeless

    def keep(self, tasks: Sequence[Task]) -> None:
        assert set(tasks) <= set(self.tasks) or self.done[-1] == "end actors"
        self.done.append(f"keep {', '.join(task.name for task in tasks)}")
        self.tasks = tuple(tasks)
        self.homeless.clear()

    def end_actors_that_trained(self) -> None:
        self.done.append("end actors")
        for task, old in self._statuses.items():
            if task.role != "evaluator":
                loss = ActorLoss("ended", False, gone_at=0.0)
                self._statuses[task] = dataclasses.replace(old, phase=RolePhase.LOST, exit_code=None, loss=loss)

    def wait_until_whole(self, seconds: float, *, pause: Callable[[], None]) -> bool:
        pause()
        return self.whole

    def shrink(self, min_workers: int, *, pause: Callable[[], None]) -> None:
        """Room for one worker less, if that is allowed."""
        if self.num_workers - 1 < min_workers:
            raise InfrastructureError("no room")
        last = max(task.worker_index for task in self.tasks)
        self.tasks = tuple(task for task in self.tasks if task.worker_index < last or not task.trains)
        self._statuses = {task: self._statuses[task] for task in self.tasks}
        self.done.append("shrunk")
        self.whole = True

    def start_evaluator(self) -> None:
        self.evaluator_starts += 1

    def sleep(self, seconds: float) -> None:
        """To be handed in as the supervisor's clock."""
        assert 0 < seconds <= 5
        self.time += seconds

    def clock(self) -> float:
        """Seconds."""
        return self.time


class ScriptedRole(ChildProcess):
    """The process of a role, with a script of the test's own in the place of TensorFlow.

    The script finds `report(event, **values)` and `told()`, which reads the next line of its stdin as JSON.
    """

    script = ""

    def __init__(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str],
        output: IO[bytes] | None = None,
        pass_fds: Sequence[int] = (),
        stdin: bool = False,
    ) -> None:
        *command, report_fd = argv
        assert command == [sys.executable, "-u", "-m", "cvd_cluster.roles.role_main"], argv
        assert list(pass_fds) == [int(report_fd)] and stdin and output is not None
        assert env["TF_GRPC_REUSE_PORT"] == "1" and env["PATH"] == os.environ["PATH"]
        prelude = (
            "import json, os, sys, time\n"
            "from estimators.processes.child_process import die_with_parent\n"
            "die_with_parent()\n"
            f"pipe = os.fdopen({report_fd}, 'w')\n"
            "def told(): return json.loads(sys.stdin.readline())\n"
            "def report(event, **values):\n"
            "    print(json.dumps({'event': event, 'time': time.time(), **values}), file=pipe, flush=True)\n"
        )
        super().__init__(
            [sys.executable, "-u", "-c", prelude + type(self).script],
            env=env,
            output=output,
            pass_fds=pass_fds,
            stdin=stdin,
        )


class FakePlacementGroup:
    """A placement group that is placed once `ready` says so; each look takes the time that it may take."""

    def __init__(self, bundles: Sequence[Mapping[str, float]], clock: FakeClock, ready: Callable[[], bool]) -> None:
        assert bundles and all(set(bundle) <= {"CPU", "GPU"} and all(bundle.values()) for bundle in bundles), bundles
        self.bundles, self._clock, self._ready = [dict(bundle) for bundle in bundles], clock, ready
        self.removed = False

    def wait(self, timeout_seconds: float) -> bool:
        assert not self.removed and 0 < timeout_seconds <= 10
        if self._ready():
            return True
        self._clock.now += timeout_seconds
        return False


@dataclasses.dataclass
class FakeClock:
    """A clock that goes when it is told to."""

    now: float = 1000.0

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return self.now
