"""One TensorFlow process of a role, as its actor sees it: started, told its part, listened to, ended."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import threading
from typing import IO, Any

import psutil

from cvd_cluster.roles.role_assignment import RoleAssignment
from cvd_cluster.roles.role_status import RoleFailure, RolePhase, RoleStatus
from estimators.processes.child_process import ChildProcess, child_environment


class RoleProcess:
    """A process that runs `cvd_cluster.roles.role_main`.

    Start it from a thread that lives as long as the actor; see ChildProcess.

    Args:
      assignment: its part.
      log: where its stdout and stderr go.
    """

    def __init__(self, assignment: RoleAssignment, *, log: IO[bytes]) -> None:
        self._assignment = assignment
        self._lock = threading.Lock()
        self._lines: list[str] = []
        self._progress = (-1, 0)
        self._first_step_time: float | None = None
        self._finished = False
        self._ended_by_command = False
        self._failure: RoleFailure | None = None
        read_fd, write_fd = os.pipe()
        try:
            self._process = ChildProcess(
                [sys.executable, "-u", "-m", "cvd_cluster.roles.role_main", str(write_fd)],
                env=_environment(assignment.gpus),
                output=log,
                pass_fds=[write_fd],
                stdin=True,
            )
        finally:
            os.close(write_fd)
        report = os.fdopen(read_fd, encoding="utf-8")
        self._reader = threading.Thread(target=self._read, args=(report,), daemon=True)
        self._reader.start()
        self._process.write_line(assignment.to_line())

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def start(self, tf_config: dict[str, Any]) -> None:
        """Lets it begin its part."""
        self._process.write_line(json.dumps(tf_config))

    def request_stop(self) -> None:
        """Asks it to save and end; it then outlives its actor for as long as that takes."""
        self._process.write_line(json.dumps({"stop": True}))

    def kill(self) -> None:
        """Ends it and all that it started, at once."""
        self._ended_by_command |= self._process.exit_code() is None
        self._process.kill()

    def status(self, name: str, address: str) -> RoleStatus:
        """A snapshot; the lines in it are handed out once."""
        code = self._process.exit_code()
        if code is not None:
            # The process is gone, so the pipe ends: what it wrote last is read to the end before it is judged.
            self._reader.join(timeout=5.0)
        with self._lock:
            lines, self._lines = tuple(self._lines), []
            return RoleStatus(
                name=name,
                phase=self._phase(code),
                generation=self._assignment.generation,
                pid=self._process.pid,
                address=address,
                global_step=self._progress[0],
                local_steps=self._progress[1],
                first_step_time=self._first_step_time,
                training_finished=self._finished,
                halted=code is None and _is_halted(self._process.pid),
                exit_code=code,
                ended_by_command=self._ended_by_command,
                failure=self._failure,
                lines=lines,
            )

    def _phase(self, code: int | None) -> RolePhase:
        if code is None:
            return RolePhase.STARTING if self._first_step_time is None else RolePhase.TRAINING
        if self._failure is not None:
            return RolePhase.FAILED
        return RolePhase.DONE if code == 0 else RolePhase.LOST

    def _read(self, report: IO[str]) -> None:
        with report, contextlib.suppress(ValueError):  # a line cut off by a kill is not JSON
            for text in report:
                values = json.loads(text)
                with self._lock:
                    self._take(values.pop("event"), values)

    def _take(self, event: str, values: dict[str, Any]) -> None:
        if event == "line":
            self._lines.append(values["text"])
        elif event == "progress":
            self._progress = (values["global_step"], values["local_steps"])
            self._first_step_time = self._first_step_time or values["time"]
        elif event == "alive":
            self._progress = (self._progress[0], self._progress[1] + 1)
        elif event == "finished":
            self._finished = True
        elif event == "failure":
            self._failure = RoleFailure(**values)


def _environment(gpus: int) -> dict[str, str]:
    # Ray hides the GPUs from nobody who asked for none; a ps would take all their memory.
    env = {**child_environment(gpus=gpus > 0), "TF_GRPC_REUSE_PORT": "1"}
    # Ray sets it to the actor's num_cpus, which would hold NumPy and oneDNN to that many threads.
    env.pop("OMP_NUM_THREADS", None)
    return env


def _is_halted(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() in (psutil.STATUS_STOPPED, psutil.STATUS_TRACING_STOP))
    except psutil.Error:
        return False
