"""The Ray actor of one role: a light process without TensorFlow that starts, watches and ends the one with it."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
import threading
from typing import IO, Any

from cvd_cluster.ports import PortLease
from cvd_cluster.roles.log_mirror import mirror_of
from cvd_cluster.roles.role_assignment import RoleAssignment
from cvd_cluster.roles.role_status import RoleFailure, RolePhase, RoleStatus
from cvd_cluster.topology import Task
from estimators import storage
from estimators.child_process import ChildProcess
from estimators.experiment_options import ExperimentOptions
from estimators.scratch_folder import make_scratch_folder
from estimators.training_plan import TrainingPlan


class RoleActor:
    """Owns one TensorFlow process.

    Its methods must be called from Ray's main thread of the actor (they are): the process is bound to the life of the
    thread that started it.

    Args:
      task: which role this is.
      options: of the run.
      plan: what all tasks share.
    """

    def __init__(self, task: Task, options: ExperimentOptions, plan: TrainingPlan) -> None:
        self._task = task
        self._lease = PortLease()
        self._scratch_dir = make_scratch_folder(task.name)
        self._log = _open_log(options.train_dir, task.name, self._scratch_dir)
        self._log_mirror = mirror_of(self._log, options.train_dir)
        self._lock = threading.Lock()
        self._lines: list[str] = []
        self._progress = (-1, 0)
        self._first_step_time: float | None = None
        self._finished = False
        self._failure: RoleFailure | None = None
        self._process, report = self._spawn()
        self._reader = threading.Thread(target=self._read, args=(report,), daemon=True)
        self._reader.start()
        assignment = RoleAssignment(options, plan, task.role, task.worker_index, self._scratch_dir)
        self._process.write_line(assignment.to_line())

    def address(self) -> str:
        """ "host:port" on which this role's TensorFlow server will listen."""
        import ray

        host = ray.util.get_node_ip_address()
        return f"[{host}]:{self._lease.port}" if ":" in host else f"{host}:{self._lease.port}"

    def start(self, tf_config: dict[str, Any]) -> None:
        """Lets the process begin its part."""
        self._process.write_line(json.dumps(tf_config))

    def poll(self) -> RoleStatus:
        """A snapshot; the lines in it are handed out once."""
        code = self._process.exit_code()
        if code is not None:
            # The process is gone, so the pipe ends: what it wrote last is read to the end before it is judged.
            self._reader.join(timeout=5.0)
        with self._lock:
            lines, self._lines = tuple(self._lines), []
            return RoleStatus(
                name=self._task.name,
                phase=self._phase(code),
                pid=self._process.pid,
                address=self.address(),
                global_step=self._progress[0],
                local_steps=self._progress[1],
                first_step_time=self._first_step_time,
                training_finished=self._finished,
                exit_code=code,
                failure=self._failure,
                lines=lines,
            )

    def stop(self) -> None:
        """Ends the process and all it started, and removes its scratch folder."""
        self._process.kill()
        self._log.close()
        if self._log_mirror is not None:
            self._log_mirror.end()
        self._lease.release()
        shutil.rmtree(self._scratch_dir, ignore_errors=True)

    def _phase(self, code: int | None) -> RolePhase:
        if self._failure is not None:
            return RolePhase.FAILED
        if code is None:
            return RolePhase.STARTING if self._first_step_time is None else RolePhase.TRAINING
        return RolePhase.DONE if code == 0 else RolePhase.LOST

    def _spawn(self) -> tuple[ChildProcess, IO[str]]:
        read_fd, write_fd = os.pipe()
        try:
            process = ChildProcess(
                [sys.executable, "-u", "-m", "cvd_cluster.roles.role_main", str(write_fd)],
                env=self._environment(),
                output=self._log,
                pass_fds=[write_fd],
                stdin=True,
            )
        finally:
            os.close(write_fd)
        return process, os.fdopen(read_fd, encoding="utf-8")

    def _environment(self) -> dict[str, str]:
        env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "TF_GRPC_REUSE_PORT": "1"}
        # Ray sets it to the actor's num_cpus, which would hold NumPy and oneDNN to that many threads.
        env.pop("OMP_NUM_THREADS", None)
        if not self._task.gpus:
            # Ray hides the GPUs from nobody who asked for none; a ps would take all their memory.
            env["CUDA_VISIBLE_DEVICES"] = "-1"
        return env

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
        elif event == "finished":
            self._finished = True
        elif event == "failure":
            self._failure = RoleFailure(**values)


def _open_log(train_dir: str, name: str, scratch_dir: str) -> IO[bytes]:
    """`train_dir/logs/<role>-<index>.log`, continued from run to run; in the scratch folder if train_dir is remote."""
    folder = scratch_dir if storage.is_remote(train_dir) else os.path.join(train_dir, "logs")
    storage.make_dirs(folder)
    return open(os.path.join(folder, f"{name}.log"), "ab")
