"""Follows a job's log to its end, through lost connections, and tells how the job ended."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import Any, Protocol

from estimators.errors import InfrastructureError, one_line

STOPPED_CODE = 143  # what a shell says of a process that SIGTERM ended
_SILENCE_SECONDS = 15.0
_LAST_LINES_SECONDS = 5.0
_RETRY_SECONDS = 2.0


class JobClient(Protocol):
    """What is used of Ray's JobSubmissionClient."""

    def get_job_info(self, job_id: str) -> Any:
        """The job's `status`, `message` and `driver_exit_code`; RuntimeError for one that does not exist."""

    def tail_job_logs(self, job_id: str) -> AsyncIterator[str]:
        """Its log in pieces, from the first line, until the job is over."""


class _Log:
    """What of a job's log has been shown: each connection to it begins at its first line."""

    def __init__(
        self,
        client: JobClient,
        job: str,
        write: Callable[[str], None],
        tell: Callable[[str], None],
        clock: Callable[[], float],
    ) -> None:
        self._client, self._job, self._write, self._tell, self._clock = client, job, write, tell, clock
        self._shown = 0
        self._said_pending = False
        self.heard_at = clock()

    def state(self) -> Any:
        """How the job is, told by the cluster."""
        info = self._client.get_job_info(self._job)
        self.heard_at = self._clock()
        if info.status.value == "PENDING" and not self._said_pending:
            self._said_pending = True
            self._tell("the job has not begun: it waits for a machine with the CPUs and GPUs that it asked for")
        return info

    async def follow(self) -> None:
        """Shows what is new until the log ends, or until the job is over and nothing more comes.

        Raises:
          Exception: the connection is lost; aiohttp, requests and Ray each have their own.
        """
        passed = 0
        stream = self._client.tail_job_logs(self._job)
        upcoming = asyncio.ensure_future(anext(stream))
        patience = _SILENCE_SECONDS
        try:
            while True:
                await asyncio.wait({upcoming}, timeout=patience)
                if upcoming.done():
                    chunk = upcoming.result()
                    self.heard_at = self._clock()
                    passed += len(chunk)
                    if passed > self._shown:
                        self._write(chunk[self._shown - passed :])
                        self._shown = passed
                    upcoming = asyncio.ensure_future(anext(stream))
                elif patience == _LAST_LINES_SECONDS:
                    return
                # A link that is cut without a word looks like a job that has nothing to say; this tells them apart.
                elif (await asyncio.to_thread(self.state)).status.is_terminal():
                    patience = _LAST_LINES_SECONDS
        except StopAsyncIteration:
            return
        finally:
            upcoming.cancel()


def follow_job(
    client: JobClient,
    job: str,
    *,
    patience_seconds: float,
    write: Callable[[str], None],
    tell: Callable[[str], None],
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> int:
    """Follows a job to its end.

    Args:
      client: connected to the cluster's job server.
      job: the job's id.
      patience_seconds: how long the connection may be lost.
      write: takes the log, in pieces.
      tell: takes a line about the connection, or a job that waits.
      clock: seconds, for the patience.
      sleep: waits that many seconds before the next try.

    Returns:
      0 for a job that succeeded; 143 for one that was stopped; for one that failed what its command ended with, and
      128 + n for signal n.

    Raises:
      InfrastructureError: the connection stays lost, the cluster knows no such job, or the job failed outside its
        command.
    """
    log, told_of = _Log(client, job, write, tell, clock), -1.0
    while True:
        try:
            asyncio.run(log.follow())
            info = log.state()
        except Exception as error:  # what a lost connection raises depends on where it broke
            if "does not exist" in str(error):
                raise _unknown(job, error) from None
            if told_of != log.heard_at:
                told_of = log.heard_at
                tell(f"connection lost ({one_line(error)}); the job goes on, trying again")
            if clock() - log.heard_at > patience_seconds:
                raise _lost(job, patience_seconds, error) from None
        else:
            if info.status.is_terminal():
                return _exit_code(job, info)
        sleep(_RETRY_SECONDS)


def _exit_code(job: str, info: Any) -> int:
    ended = {"SUCCEEDED": 0, "STOPPED": STOPPED_CODE}
    if info.status.value in ended:
        return ended[info.status.value]
    code = info.driver_exit_code
    if not code:
        raise InfrastructureError(
            "The job failed outside its command",
            asked=f"job {job}",
            found=one_line(info.message or "no message"),
            change="look at the cluster with `ray status`; the same command continues a training run",
        )
    return int(code) if code > 0 else 128 - int(code)


def _lost(job: str, seconds: float, error: Exception) -> InfrastructureError:
    return InfrastructureError(
        "The connection to the cluster stays lost; how the job ends is not known here",
        asked=f"job {job}",
        found=f"for {seconds:g} s (--patience_seconds): {one_line(error)}",
        change=f"once the cluster can be reached: python -m launch.submit attach with the same --address, --job={job}",
    )


def _unknown(job: str, error: Exception) -> InfrastructureError:
    return InfrastructureError(
        "The cluster knows no such job",
        asked=f"job {job}",
        found=one_line(error),
        change="`ray job list --address=…` lists its jobs; a head that was started anew has forgotten the old ones",
    )
