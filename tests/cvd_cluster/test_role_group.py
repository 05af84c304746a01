from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import ray

from cvd_cluster.errors import RoleLostError
from cvd_cluster.supervision import role_group, role_handle
from cvd_cluster.supervision.role_group import RoleGroup
from cvd_cluster.topology import Task
from estimators.errors import StoppedError
from estimators.experiment_options import ExperimentOptions
from estimators.inputs.data_check import DataFiles
from estimators.training_plan import TrainingPlan
from tests.cvd_cluster.fake_ray import FakeActor, FakeRay
from tests.cvd_cluster.fakes import FakeClock

TASKS = [Task(role, 0, 1.0, 0) for role in ("chief", "worker", "ps", "evaluator")]
DATA = DataFiles(("/d/a",), (8,))
PLAN = TrainingPlan("parameter_server", 2, 1, DATA, DATA, 4, 5)


class Group:
    """A group over actors that answer as a test wants it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.clock = FakeClock()
        self.fake = FakeRay(self.clock)
        for module in (role_group, role_handle):
            monkeypatch.setattr(module, "ray", self.fake)
            monkeypatch.setattr(module, "time", self.clock)
        options = ExperimentOptions(train_dir="/run", train_data_pattern="/d/*", eval_data_pattern="/d/*")
        self.group = RoleGroup(options, orphan_timeout_secs=600.0)

    def begin(self, pause: Callable[[], object] = lambda: None) -> None:
        self.group.begin_generation(1, TASKS, PLAN, None, pause=pause)

    def actor(self, task: Task) -> FakeActor:
        return self.fake.actors[TASKS.index(task)]


@pytest.fixture
def group(monkeypatch: pytest.MonkeyPatch) -> Iterator[Group]:
    made = Group(monkeypatch)
    yield made
    made.group.stop()


def test_all_that_hold_something_of_the_model_are_told_to_stop(group: Group) -> None:
    group.fake.answers.update(prepare="127.0.0.2:4000", start=None)
    group.begin()
    group.group.request_stop()
    told = [task.role for task in TASKS if "request_stop" in group.actor(task).called]
    assert told == ["chief", "worker", "ps"], "a ps that dies with its actor takes the variables along"


def test_a_signal_is_obeyed_while_an_actor_does_not_start(group: Group) -> None:
    def pause() -> None:
        raise StoppedError("Stopped by SIGTERM")

    began = group.clock.now
    with pytest.raises(StoppedError):
        group.begin(pause)
    assert group.clock.now - began < 20


def test_an_actor_that_does_not_start_is_given_up_after_two_minutes(group: Group) -> None:
    began = group.clock.now
    with pytest.raises(RoleLostError, match="do not start"):
        group.begin()
    assert 110 < group.clock.now - began < 130


def test_an_actor_that_dies_at_its_start_is_told_at_once(group: Group) -> None:
    group.fake.answers["prepare"] = ray.exceptions.RayActorError(error_msg="no space left")
    with pytest.raises(RoleLostError) as caught:
        group.begin()
    assert "no space left" in caught.value.found
