"""What a role's process says to its actor."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any, cast

import pytest

from cvd_cluster.errors import RoleError
from cvd_cluster.roles import role_main
from cvd_cluster.roles.orders import Orders
from cvd_cluster.roles.role_assignment import RoleAssignment
from cvd_cluster.roles.role_main import PipeReporter
from cvd_cluster.roles.role_status import RoleFailure
from estimators.errors import DataError, InfrastructureError, UserError
from estimators.experiment_options import ExperimentOptions
from estimators.inputs.data_check import DataFiles
from estimators.train_dir import generation
from estimators.training_plan import TrainingPlan

ROOT = Path(__file__).parents[2]


class Pipe:
    """The end that an actor reads."""

    def __init__(self) -> None:
        self._read, write = os.pipe()
        self.reporter = PipeReporter(write)

    def events(self) -> list[dict[str, Any]]:
        self.reporter._pipe.close()
        with os.fdopen(self._read, encoding="utf-8") as pipe:
            return [json.loads(line) for line in pipe]


@pytest.fixture
def pipe() -> Pipe:
    return Pipe()


def test_events_are_json_lines_with_their_time(pipe: Pipe, capfd: pytest.CaptureFixture[str]) -> None:
    pipe.reporter.line("training step 1 – ü")
    pipe.reporter.progress(7, 3)
    pipe.reporter.checkpoint_saved(7)
    line, progress = pipe.events()
    assert line["event"] == "line" and line["text"] == "training step 1 – ü"
    assert (progress["event"], progress["global_step"], progress["local_steps"]) == ("progress", 7, 3)
    assert progress["time"] >= line["time"] > 1e9
    log = capfd.readouterr().out
    assert "training step 1 – ü" in log and "checkpoint of step 7" in log, "the log has both"


def test_events_of_several_threads_do_not_mix(pipe: Pipe) -> None:
    def send(number: int) -> None:
        for _ in range(20):
            pipe.reporter.send("line", text=str(number) * 100)

    threads = [threading.Thread(target=send, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    texts = [event["text"] for event in pipe.events()]
    assert len(texts) == 80 and all(len(set(text)) == 1 for text in texts)


def sent_failure(pipe: Pipe, error: BaseException) -> RoleFailure:
    """What the actor makes of it."""
    try:
        raise error
    except BaseException as caught:
        role_main._send_failure(pipe.reporter, caught)
    (values,) = pipe.events()
    assert values.pop("event") == "failure"
    return RoleFailure(**values)


def test_an_error_with_a_message_for_people_keeps_its_parts(pipe: Pipe) -> None:
    failure = sent_failure(pipe, DataError("A record is bad", asked="a", found="f", change="c"))
    assert (failure.kind, failure.message) == ("DataError", "A record is bad")
    assert failure.parts is not None and list(failure.parts) == ["a", "f", "c"] and not failure.is_echo


def test_any_other_error_keeps_its_traceback(pipe: Pipe) -> None:
    failure = sent_failure(pipe, KeyError("the author forgot something"))
    assert (failure.kind, failure.parts, failure.is_echo) == ("KeyError", None, False)
    assert failure.traceback.startswith("Traceback") and "raise error" in failure.traceback
    assert "the author forgot something" in failure.traceback


@pytest.mark.parametrize(
    ("name", "is_echo"),
    [
        ("UnavailableError", True),
        ("AbortedError", True),
        ("CancelledError", True),
        ("InvalidArgumentError", False),
        ("ResourceExhaustedError", False),
        ("FailedPreconditionError", False),
    ],
)
def test_what_tensorflow_raises_when_a_peer_is_gone_is_an_echo(pipe: Pipe, name: str, is_echo: bool) -> None:
    import tensorflow as tf

    error = getattr(tf.errors, name)(None, None, "failed to connect to all addresses")
    assert sent_failure(pipe, error).is_echo == is_echo


@pytest.mark.parametrize("name", ["InternalError", "UnknownError", "InvalidArgumentError"])
def test_a_collective_operation_that_was_given_up_is_an_echo_of_whatever_kind(pipe: Pipe, name: str) -> None:
    import tensorflow as tf

    error = getattr(tf.errors, name)(
        None, None, "Collective ops is aborted by: Delete called on non-empty BufRendezvous\nThe error could be …"
    )
    assert sent_failure(pipe, error).is_echo


def test_an_error_of_the_clusters_own_is_no_echo(pipe: Pipe) -> None:
    assert not sent_failure(pipe, RoleError("x")).is_echo


def run_python(code: str) -> tuple[int, list[dict[str, Any]]]:
    """Exit code and events of a process whose reporter is `reporter`."""
    read, write = os.pipe()
    start = f"from cvd_cluster.roles import role_main; import sys, time; reporter = role_main.PipeReporter({write})\n"
    process = subprocess.Popen([sys.executable, "-c", start + code], cwd=ROOT, pass_fds=[write])
    os.close(write)
    try:
        with os.fdopen(read, encoding="utf-8") as pipe:
            events = [json.loads(line) for line in pipe]
        return process.wait(30), events
    finally:
        process.kill()
        process.wait()


def test_a_process_that_has_finished_ends_soon_even_if_tensorflow_hangs() -> None:
    code, events = run_python("role_main._CLOSING_SECS = 0.2; reporter.training_finished(40); time.sleep(60)")
    assert code == 0 and [(event["event"], event["global_step"]) for event in events] == [("finished", 40)]


def test_an_error_that_is_none_of_tensorflows_is_sent_without_waiting_for_its_import() -> None:
    code, events = run_python(
        "from estimators.errors import UserError\n"
        "role_main._send_failure(reporter, UserError('x')); assert 'tensorflow' not in sys.modules"
    )
    assert code == 0 and events[0]["is_echo"] is False


class Told:
    """Orders that have come."""

    def next_line(self) -> str:
        return "begin"

    def when_told_to_stop(self, act: object) -> None:
        pass


@pytest.mark.parametrize(("found", "told"), [(0, True), (1, True), (2, False)])
def test_a_role_does_not_train_without_the_gpus_that_ray_set_aside(
    pipe: Pipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, found: int, told: bool
) -> None:
    import tensorflow as tf

    from estimators.experiment import Experiment

    def train(self: Experiment) -> None:
        raise RuntimeError("it trains")

    monkeypatch.setenv("TF_CONFIG", "")
    monkeypatch.setattr(Experiment, "train", train)
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [kind] * found)
    options = ExperimentOptions(train_dir=str(tmp_path), train_data_pattern="/d/*")
    plan = TrainingPlan("multi_worker_mirrored", 1, 2, DataFiles(("/d/a",), (1,)), None, 8, 5)
    assignment = RoleAssignment(options, plan, "chief", 0, "/tmp/scratch", generation=1, gpus=2)
    with pytest.raises(UserError if told else RuntimeError) as caught:
        role_main._train(assignment, cast(Orders, Told()), pipe.reporter)
    if told:
        failure = sent_failure(pipe, caught.value)
        assert failure.parts is not None and failure.parts[0] == "--gpus_per_worker=2" and "[cuda]" in failure.parts[2]
        assert failure.parts[1].startswith(f"{found} on ")


def test_an_evaluator_does_not_wait_in_a_folder_that_is_not_the_runs(
    pipe: Pipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(generation, "_STALE_SECS", 0.1)
    options = ExperimentOptions(train_dir=str(tmp_path), train_data_pattern="/d/*", eval_data_pattern="/e/*")
    plan = TrainingPlan("parameter_server", 1, 1, DataFiles(("/d/a",), (1,)), DataFiles(("/e",), (4,)), 8, 5)
    assignment = RoleAssignment(options, plan, "evaluator", -1, "/tmp/scratch", generation=1, gpus=0)
    with pytest.raises(InfrastructureError, match="not the folder of this run"):
        role_main._evaluate(assignment, cast(Orders, Told()), pipe.reporter)
