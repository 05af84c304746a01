"""Ray as the roles of a run use it, without a cluster: actors answer what a test says, or never."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import ray

from cvd_cluster.roles.role_actor import RoleActor
from tests.cvd_cluster.fakes import FakeClock


@dataclass(frozen=True)
class FakeCall:
    """A call that is under way.

    Attributes:
      actor: whose method it is.
      method: its name.
    """

    actor: FakeActor
    method: str

    def remote(self, *arguments: object) -> FakeCall:
        self.actor.called.append(self.method)
        return self


class FakeActor:
    """A handle of an actor.

    Attributes:
      answers: method -> what it returns, or the error that comes of it; other methods are never answered.
      called: the methods, in their order.
      killed: whether Ray was asked to end it.
    """

    def __init__(self) -> None:
        self.answers: dict[str, Any] = {}
        self.called: list[str] = []
        self.killed = False

    def __getattr__(self, method: str) -> FakeCall:
        assert callable(getattr(RoleActor, method)), method
        return FakeCall(self, method)


class FakeRay:
    """To be put in the place of the module.

    Args:
      clock: goes on when an answer is waited for in vain.
    """

    exceptions = ray.exceptions

    def __init__(self, clock: FakeClock) -> None:
        self._clock = clock
        self.actors: list[FakeActor] = []
        self.answers: dict[str, Any] = {}
        """What the actors answer from their beginning on."""
        self.environments: list[dict[str, str]] = []
        """Of each actor, what is added to its node's."""

    def remote(self, *arguments: object) -> Any:
        if arguments == (RoleActor,):
            return self
        self.actors.append(FakeActor())
        self.actors[-1].answers.update(self.answers)
        return self.actors[-1]

    def options(self, *, max_restarts: int, runtime_env: dict[str, Any], **values: object) -> FakeRay:
        assert max_restarts == 0, "an actor that Ray starts again by itself knows of no process"
        assert runtime_env.keys() <= {"env_vars"}
        self.environments.append(runtime_env.get("env_vars", {}))
        return self

    def get(self, calls: FakeCall | Sequence[FakeCall], *, timeout: float) -> Any:
        answers = [self._answer(call, timeout) for call in ([calls] if isinstance(calls, FakeCall) else calls)]
        return answers[0] if isinstance(calls, FakeCall) else answers

    def _answer(self, call: FakeCall, timeout: float) -> Any:
        if call.method not in call.actor.answers:
            self._clock.now += timeout
            raise ray.exceptions.GetTimeoutError("not yet")
        answer = call.actor.answers[call.method]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def wait(self, calls: Sequence[FakeCall], *, num_returns: int = 1, timeout: float) -> None:
        assert 0 < num_returns <= len(calls)
        if not all(call.method in call.actor.answers for call in calls):
            self._clock.now += timeout

    def kill(self, actor: FakeActor, *, no_restart: bool) -> None:
        assert no_restart
        actor.killed = True
