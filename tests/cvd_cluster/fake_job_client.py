"""A stand-in for Ray's JobSubmissionClient, whose connections break where a test says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from ray.job_submission import JobStatus
from ray.runtime_env import RuntimeEnv

JOB = "raysubmit_1"


class Cut(ConnectionError):
    """A connection that breaks."""


HANGS = "hangs"


@dataclass
class FakeJobClient:
    """Plays one list of pieces per connection to the log; `Cut()` breaks it there, HANGS leaves it silent.

    Like Ray's, each connection begins at the first line. `states` are what is told of the job, the last one from then
    on.
    """

    connections: Sequence[Sequence[str | Exception]] = ((),)
    states: Sequence[str | Exception] = ("SUCCEEDED",)
    exit_code: int | None = 0
    message: str = ""
    submitted: dict[str, Any] = field(default_factory=dict)
    asked: int = 0
    connected: int = 0

    def submit_job(
        self,
        *,
        entrypoint: str,
        runtime_env: dict[str, Any],
        submission_id: str | None,
        entrypoint_num_cpus: float | None,
        entrypoint_num_gpus: float | None,
        metadata: dict[str, str],
    ) -> str:
        RuntimeEnv(**{**runtime_env, "working_dir": None})  # checks names and types
        assert all(isinstance(value, str) for value in runtime_env["env_vars"].values())
        assert not self.submitted, "submitted twice"
        self.submitted = {"entrypoint": entrypoint, "cpus": entrypoint_num_cpus, "gpus": entrypoint_num_gpus}
        self.submitted |= runtime_env | {"metadata": metadata}
        return submission_id or JOB

    def get_job_info(self, job_id: str) -> Any:
        state = self.states[min(self.asked, len(self.states) - 1)]
        self.asked += 1
        if isinstance(state, Exception):
            raise state
        return SimpleNamespace(
            status=JobStatus(state),
            driver_exit_code=self.exit_code,
            message=self.message,
            metadata=self.submitted.get("metadata"),
        )

    async def tail_job_logs(self, job_id: str) -> AsyncIterator[str]:
        pieces = self.connections[min(self.connected, len(self.connections) - 1)]
        self.connected += 1
        for piece in pieces:
            if isinstance(piece, Exception):
                raise piece
            if piece == HANGS:
                await asyncio.sleep(3600)
            yield piece
