"""The TensorFlow process of one role: `python -m cvd_cluster.roles.role_main REPORT_FD`.

It reads its part from stdin (role_assignment.py), runs it, and writes what happens as JSON lines to REPORT_FD. Its
stdout and stderr are its log. It ends when its actor does.
"""

from __future__ import annotations

import contextlib
import faulthandler
import json
import os
import sys
import threading
import time
import traceback
from typing import Any

from cvd_cluster.roles.orders import Orders
from cvd_cluster.roles.role_assignment import RoleAssignment
from estimators.errors import HarnessError
from estimators.processes.child_process import let_parent_trace
from estimators.processes.lasting_console import keep_running_without_console
from estimators.promised_gpus import check_gpus
from estimators.tensorflow_compat import quiet_tensorflow
from estimators.train_dir.generation import check_is_known

# After the last checkpoint `session.close()` of a chief whose peers were restarted can hang for 40 s.
_CLOSING_SECS = 3.0
# What a collective operation says when another one was given up, here or at a peer; the status is that one's, of any
# kind. From BaseCollectiveExecutor::StartAbort of TensorFlow's base_collective_executor.cc.
_COLLECTIVE_ABORTED = "Collective ops is aborted by"


class PipeReporter:
    """Writes each event as a JSON line to the pipe that the role's actor reads."""

    def __init__(self, report_fd: int) -> None:
        self._pipe = os.fdopen(report_fd, "w", encoding="utf-8")
        self._lock = threading.Lock()

    def send(self, event: str, **values: Any) -> None:
        """One event."""
        # The actor may be gone while a last checkpoint is written.
        with self._lock, contextlib.suppress(BrokenPipeError):
            self._pipe.write(json.dumps({"event": event, "time": time.time(), **values}) + "\n")
            self._pipe.flush()

    def line(self, text: str) -> None:
        """A line for people, into the log too."""
        print(text, flush=True)
        self.send("line", text=text)

    def progress(self, global_step: int, local_steps: int) -> None:
        """A sign of training."""
        self.send("progress", global_step=global_step, local_steps=local_steps)

    def checkpoint_saved(self, global_step: int) -> None:
        """Into the log only."""
        print(f"saved checkpoint of step {global_step}", flush=True)

    def alive(self) -> None:
        """A sign of life of an evaluator."""
        self.send("alive")

    def training_finished(self, global_step: int) -> None:
        """Tells it, and ends the process a little later, whether TensorFlow is ready to or not."""
        self.send("finished", global_step=global_step)
        self._end_soon()

    def training_stopped(self, global_step: int) -> None:
        """Says where training goes on, and ends the process a little later."""
        self.line(f"stopped after step {global_step}")
        self._end_soon()

    def _end_soon(self) -> None:
        timer = threading.Timer(_CLOSING_SECS, os._exit, (0,))
        timer.daemon = True
        timer.start()


def main() -> int:
    """Runs the role; the exit code is 0, or 1 after an error that was sent."""
    orders = Orders()
    keep_running_without_console()  # its log may lie on a disk that gets full
    let_parent_trace()  # for its stacks
    faulthandler.enable()  # a crash in TensorFlow's own code tells the log where
    reporter = PipeReporter(int(sys.argv[1]))
    quiet_tensorflow()
    try:
        assignment = RoleAssignment.from_line(orders.next_line())
        if assignment.role == "evaluator":
            _evaluate(assignment, orders, reporter)
        else:
            _train(assignment, orders, reporter)
    except BaseException as error:
        with contextlib.suppress(OSError):  # a log on a full disk must not keep the error from being told
            traceback.print_exc()
        _send_failure(reporter, error)
        return 1
    return 0


def _train(assignment: RoleAssignment, orders: Orders, reporter: PipeReporter) -> None:
    from estimators.experiment import Experiment  # imports TensorFlow, while the cluster is still being put together

    check_gpus(assignment.gpus)
    os.environ["TF_CONFIG"] = orders.next_line()
    experiment = Experiment(
        assignment.options,
        assignment.plan,
        assignment.role,
        assignment.worker_index,
        assignment.scratch_dir,
        reporter,
        assignment.generation,
    )
    orders.when_told_to_stop(experiment.requests.request_stop)
    experiment.train()


def _evaluate(assignment: RoleAssignment, orders: Orders, reporter: PipeReporter) -> None:
    # Before TensorFlow is imported: until the first step the training roles need the processors.
    orders.next_line()
    check_is_known(assignment.options.train_dir, assignment.generation)
    from estimators.evaluation.evaluation_run import run_evaluation

    run_evaluation(assignment.options, line=reporter.line, alive=reporter.alive)


def _send_failure(reporter: PipeReporter, error: BaseException) -> None:
    reporter.send(
        "failure",
        kind=type(error).__name__,
        message=error.summary if isinstance(error, HarnessError) else str(error),
        parts=[error.asked, error.found, error.change] if isinstance(error, HarnessError) else None,
        traceback=traceback.format_exc(),
        is_echo=_is_tensorflows(error, "UnavailableError", "AbortedError", "CancelledError")
        or (_is_tensorflows(error, "OpError") and _COLLECTIVE_ABORTED in str(error)),
        is_tensorflows=_is_tensorflows(error, "OpError"),
    )


def _is_tensorflows(error: BaseException, *names: str) -> bool:
    """True for errors of tf.errors. UnavailableError and its like are what TensorFlow raises when a peer is gone."""
    if "tensorflow" not in sys.modules:
        return False  # then it is not TensorFlow's; the seconds of its import would only delay the message
    import tensorflow as tf

    return isinstance(error, tuple(getattr(tf.errors, name) for name in names))


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    # Not sys.exit: threads of TensorFlow's server can keep a finished interpreter from ending.
    os._exit(code)
