"""The Ray actor of one role: a light process without TensorFlow that starts, watches and ends the one with it."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
import time
from typing import IO, Any

from cvd_cluster.ports import PortLease
from cvd_cluster.roles.log_mirror import mirror_of
from cvd_cluster.roles.orphan_guard import OrphanGuard
from cvd_cluster.roles.role_assignment import RoleAssignment
from cvd_cluster.roles.role_process import RoleProcess
from cvd_cluster.roles.role_status import RoleStatus
from cvd_cluster.roles.stack_dump import dump_stacks
from cvd_cluster.topology import Task
from estimators import storage
from estimators.experiment_options import ExperimentOptions
from estimators.processes.scratch_folder import make_scratch_folder
from estimators.training_plan import TrainingPlan

# Until all actors of a run are there nobody speaks to the first of them.
_FIRST_PATIENCE_SECS = 150.0


class RoleActor:
    """Owns one port and one TensorFlow process at a time.

    Its methods must be called from Ray's main thread of the actor (they are): the process is bound to the life of the
    thread that started it.

    Args:
      task: which role this is.
      options: of the run.
      orphan_timeout_secs: after so many seconds without a call all is ended, this process too.
    """

    def __init__(self, task: Task, options: ExperimentOptions, orphan_timeout_secs: float) -> None:
        self._task, self._options = task, options
        self._lease = PortLease()
        self._scratch_dir = make_scratch_folder(task.name)
        self._log = _open_log(options.train_dir, task.name, self._scratch_dir)
        self._log_mirror = mirror_of(self._log, options.train_dir)
        self._process: RoleProcess | None = None
        self._said_before: tuple[str, ...] = ()
        self._guard = OrphanGuard(
            orphan_timeout_secs, first_patience_secs=_FIRST_PATIENCE_SECS, act=self._end_as_an_orphan
        )

    def prepare(self, plan: TrainingPlan, generation: int) -> str:
        """Starts a process, in the place of the one that may be there; it waits for `start`.

        Returns:
          "host:port" on which its TensorFlow server will listen; the same as long as the actor lives.
        """
        if self._process is not None:
            self.end_process()
            self._said_before += self._process.status(self._task.name, "").lines
        task = self._task
        assignment = RoleAssignment(
            self._options, plan, task.role, task.worker_index, self._scratch_dir, generation, task.gpus
        )
        self._process = RoleProcess(assignment, log=self._log)
        return self._address()

    def start(self, tf_config: dict[str, Any]) -> None:
        """Lets the process begin its part."""
        assert self._process is not None
        self._process.start(tf_config)

    def beat(self) -> None:
        """A sign of life of the command."""
        self._guard.heard()

    def poll(self) -> RoleStatus:
        """A snapshot; the lines in it are handed out once."""
        self._guard.heard()
        if self._process is None:
            return RoleStatus(self._task.name, address=self._address())
        status = self._process.status(self._task.name, self._address())
        if self._said_before:
            status = dataclasses.replace(status, lines=self._said_before + status.lines)
            self._said_before = ()
        return status

    def request_stop(self) -> None:
        """Asks the process to save and end."""
        if self._process is not None:
            self._process.request_stop()

    def dump_stacks(self) -> str:
        """Writes what every thread of the process does into its log; a line for people about that."""
        if self._process is None:
            return "there is no process"
        self._guard.heard()  # the command is there, and what it says now is heard only after the look
        told = dump_stacks(self._process.pid, self._log)
        self._guard.heard()
        return told

    def end_process(self) -> None:
        """Ends the process and all it started; the port stays."""
        if self._process is not None:
            self._process.kill()

    def stop(self) -> None:
        """Ends the process and all it started, gives the port back and removes the scratch folder."""
        self._guard.end()
        self.end_process()
        try:
            with contextlib.suppress(OSError):  # what a full or lost disk did not take of the log
                self._log.close()
            if self._log_mirror is not None:
                self._log_mirror.end()
        finally:
            self._lease.release()
            shutil.rmtree(self._scratch_dir, ignore_errors=True)

    def _address(self) -> str:
        import ray

        host = ray.util.get_node_ip_address()
        return f"[{host}]:{self._lease.port}" if ":" in host else f"{host}:{self._lease.port}"

    def _end_as_an_orphan(self) -> None:
        # The process first, and all else later: nothing may keep it from being ended.
        self.end_process()
        try:
            with contextlib.suppress(OSError):
                self._log.write(f"{time.ctime()}: nobody asked for {self._task.name}, so it ended itself\n".encode())
            self.stop()
        finally:
            _leave()


def _leave() -> None:
    os._exit(1)


def _open_log(train_dir: str, name: str, scratch_dir: str) -> IO[bytes]:
    """`train_dir/logs/<role>-<index>.log`, continued from run to run; in the scratch folder if train_dir is remote."""
    folder = scratch_dir if storage.is_remote(train_dir) else os.path.join(train_dir, "logs")
    storage.make_dirs(folder)
    return open(os.path.join(folder, f"{name}.log"), "ab")
