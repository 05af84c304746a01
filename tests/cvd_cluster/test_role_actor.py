"""The actor of a role, used as the plain object it is, with real processes below it."""

from __future__ import annotations

import errno
import json
import os
import pickle
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from cvd_cluster.roles import role_actor, role_process, stack_dump
from cvd_cluster.roles.role_actor import RoleActor
from cvd_cluster.roles.role_process import RoleProcess
from cvd_cluster.roles.role_status import RolePhase, RoleStatus
from cvd_cluster.topology import Task
from estimators.experiment_options import ExperimentOptions
from estimators.inputs.data_check import DataFiles
from estimators.train_dir.generation import begin_generation
from estimators.training_plan import TrainingPlan
from tests.cvd_cluster.fakes import ScriptedRole
from tests.cvd_cluster.test_ports import bind_error
from tests.cvd_cluster.tracing import may_trace

CHIEF = Task("chief", 0, 1.0, 0)
PATIENCE = 30.0
TF_CONFIG = {"cluster": {"chief": ["a:1"]}, "task": {"type": "chief", "index": 0}}
Start = Callable[..., RoleActor]
FAILURE = "kind='KeyError', message='m', parts=None, traceback='t', is_echo=False, is_tensorflows=False"


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Starts an actor whose process runs a script of the test's own; all are ended."""
    actors: list[RoleActor] = []

    def begin(
        script: str | None, task: Task = CHIEF, orphan_timeout_secs: float = 600.0, **values: object
    ) -> RoleActor:
        options = ExperimentOptions(train_dir=str(tmp_path / "run"), train_data_pattern="/d/*", **values)  # type: ignore[arg-type]
        plan = TrainingPlan("parameter_server", 2, 1, DataFiles(("/d/a",), (8,)), None, 4, 5)
        with monkeypatch.context() as patched:
            if script is not None:
                patched.setattr(role_process, "ChildProcess", type("Scripted", (ScriptedRole,), {"script": script}))
            actors.append(RoleActor(task, options, orphan_timeout_secs))
            actors[-1].prepare(plan, generation=2)
        return actors[-1]

    yield begin
    for actor in actors:
        actor.stop()


class LogOnAFullDisk:
    """A log of which one method fails."""

    def __init__(self, failing: str) -> None:
        self._failing = failing

    def write(self, text: bytes) -> int:
        return self._do("write", len(text))

    def close(self) -> None:
        self._do("close", 0)

    def _do(self, step: str, result: int) -> int:
        if step == self._failing:
            raise OSError(errno.ENOSPC, "No space left on device")
        return result


def until(actor: RoleActor, reached: Callable[[RoleStatus], bool]) -> list[RoleStatus]:
    """All snapshots up to the first that is as wanted."""
    end = time.monotonic() + PATIENCE
    seen = [actor.poll()]
    while not reached(seen[-1]):
        assert time.monotonic() < end, seen[-1]
        time.sleep(0.02)
        seen.append(actor.poll())
    return seen


def ended(status: RoleStatus) -> bool:
    return status.phase.is_terminal


def lines(seen: list[RoleStatus]) -> list[str]:
    return [line for status in seen for line in status.lines]


def log_of(tmp_path: Path, name: str = "chief-0") -> str:
    return (tmp_path / "run" / "logs" / f"{name}.log").read_text()


def test_a_role_is_told_its_part_then_its_cluster_and_reports_to_its_end(start: Start, tmp_path: Path) -> None:
    actor = start(
        "part = told()\n"
        "report('line', text=part['role'] + ' ' + str(part['worker_index']) + ' ' + part['options']['train_dir'])\n"
        "config = told()\n"
        "report('line', text=config['task']['type'])\n"
        "report('progress', global_step=3, local_steps=1)\n"
        "print('to the log'); print('and errors too', file=sys.stderr)\n"
        "told()\n"
        "report('progress', global_step=5, local_steps=2)\n"
        "report('finished', global_step=5)\n"
    )
    assert lines(until(actor, lambda status: bool(status.lines))) == [f"chief 0 {tmp_path}/run"]
    waiting = actor.poll()
    assert (waiting.phase, waiting.global_step, waiting.first_step_time) == (RolePhase.STARTING, -1, None)
    assert waiting.lines == (), "each line is handed out once"

    actor.start(TF_CONFIG)
    training = until(actor, lambda status: status.phase is RolePhase.TRAINING)
    assert lines(training) == ["chief"]
    first = training[-1]
    assert (first.global_step, first.local_steps, first.training_finished, first.exit_code) == (3, 1, False, None)

    actor.start({})  # any third line lets the script end
    last = until(actor, ended)[-1]
    assert (last.phase, last.exit_code, last.global_step, last.local_steps) == (RolePhase.DONE, 0, 5, 2)
    assert last.training_finished and last.first_step_time == first.first_step_time and last.failure is None
    assert last.name == "chief-0" and pickle.loads(pickle.dumps(last)) == last
    assert "to the log" in log_of(tmp_path) and "and errors too" in log_of(tmp_path)


def test_a_python_error_makes_a_failed_role(start: Start) -> None:
    last = until(start(f"report('failure', {FAILURE}); raise SystemExit(1)"), ended)[-1]
    assert last.phase is RolePhase.FAILED and last.failure is not None
    assert (last.failure.kind, last.failure.traceback, last.failure.is_echo) == ("KeyError", "t", False)


@pytest.mark.parametrize(
    ("end", "exit_code"), [("os.kill(os.getpid(), 9)", -9), ("os.abort()", -6), ("os._exit(7)", 7)]
)
def test_an_end_without_a_word_makes_a_lost_role(start: Start, end: str, exit_code: int) -> None:
    seen = until(start(f"report('line', text='last words'); {end}"), ended)
    assert seen[-1].phase is RolePhase.LOST and seen[-1].exit_code == exit_code and seen[-1].failure is None
    assert lines(seen) == ["last words"], "what it said last is not lost"


def test_a_process_counts_as_ended_once_all_it_said_is_read(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    take = RoleProcess._take

    def take_slowly(process: RoleProcess, event: str, values: dict[str, Any]) -> None:
        time.sleep(0.002)
        take(process, event, values)

    monkeypatch.setattr(RoleProcess, "_take", take_slowly)
    script = f"for i in range(100): report('line', text=str(i))\nreport('failure', {FAILURE}); os._exit(1)"
    seen = until(start(script), ended)
    assert len(lines(seen)) == 100 and seen[-1].phase is RolePhase.FAILED


def test_half_a_line_that_a_kill_leaves_behind_is_no_harm(start: Start) -> None:
    seen = until(
        start("report('line', text='whole'); pipe.write('{\"event\": \"li'); pipe.flush(); os._exit(1)"), ended
    )
    assert lines(seen) == ["whole"] and seen[-1].phase is RolePhase.LOST


def test_many_lines_come_in_order_and_none_is_lost(start: Start) -> None:
    seen = until(start("for i in range(5000): report('line', text=f'{i} ' + 'x' * 100)"), ended)
    assert [int(line.split()[0]) for line in lines(seen)] == list(range(5000))


def environment_of(actor: RoleActor) -> dict[str, Any]:
    (line,) = lines(until(actor, lambda status: bool(status.lines)))
    environment: dict[str, Any] = json.loads(line)
    return environment


SAY_ENVIRONMENT = "report('line', text=json.dumps(dict(os.environ))); told(); told()"


def test_a_role_without_gpus_sees_none_and_all_processors(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    environment = environment_of(start(SAY_ENVIRONMENT))
    assert environment["CUDA_VISIBLE_DEVICES"] == "-1" and "OMP_NUM_THREADS" not in environment
    environment = environment_of(start(SAY_ENVIRONMENT, Task("worker", 0, 1.0, 2)))
    assert environment["CUDA_VISIBLE_DEVICES"] == "0,1", "what Ray gave it"


def test_its_address_is_a_port_that_a_server_which_shares_ports_can_take_and_nobody_else(start: Start) -> None:
    actor = start("told(); told()")
    host, _, port = actor.poll().address.rpartition(":")
    assert host == actor.poll().host
    assert bind_error(int(port), reuse=True) is None and bind_error(int(port)) is not None
    actor.stop()
    assert bind_error(int(port)) is None


def test_stop_ends_the_process_and_all_it_started_and_removes_its_scratch_folder(start: Start) -> None:
    actor = start(
        "import subprocess\n"
        "scratch = told()['scratch_dir']; open(scratch + '/decoded', 'w').close()\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        "report('line', text=json.dumps([child.pid, scratch])); time.sleep(60)"
    )
    seen = until(actor, lambda status: bool(status.lines))
    grandchild, scratch = json.loads(lines(seen)[0])
    assert os.path.isdir(scratch)
    actor.stop()
    actor.stop()  # twice is no error
    assert not os.path.exists(scratch) and actor.poll().exit_code == -signal.SIGKILL
    end = time.monotonic() + PATIENCE
    while psutil.pid_exists(grandchild) and psutil.Process(grandchild).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < end
        time.sleep(0.02)


def test_scratch_folders_are_the_tasks_own(start: Start) -> None:
    say = "report('line', text=told()['scratch_dir']); told()"
    seen = [until(start(say, task), lambda status: bool(status.lines)) for task in (CHIEF, Task("worker", 0, 1.0, 0))]
    assert len({lines(one)[0] for one in seen}) == 2


def test_the_log_goes_on_from_run_to_run(start: Start, tmp_path: Path) -> None:
    for text in ("first run", "second run"):
        until(start(f"print('{text}')"), ended)
    assert log_of(tmp_path) == "first run\nsecond run\n"


def test_a_mistake_of_the_users_is_told_by_the_real_process_without_waiting_for_tensorflow(
    start: Start, tmp_path: Path
) -> None:
    task = Task("evaluator", 0, 1.0, 0)
    (tmp_path / "run").mkdir()
    assert [begin_generation(str(tmp_path / "run")) for _ in range(2)] == [1, 2]
    actor = start(None, task, eval_data_pattern=f"{tmp_path}/nothing-*")
    actor.start({})
    last = until(actor, ended)[-1]
    assert last.phase is RolePhase.FAILED and last.exit_code == 1 and last.failure is not None
    assert last.failure.kind == "UserError"
    assert last.failure.parts is not None and f"--eval_data_pattern={tmp_path}/nothing-*" in last.failure.parts[0]
    assert "No file matches" in log_of(tmp_path, "evaluator-0"), "its log tells it too"


def test_a_new_process_takes_the_place_of_the_old_one_at_the_same_address(start: Start, tmp_path: Path) -> None:
    actor = start("part = told(); report('line', text=str(part['generation'])); told(); report('line', text='begun')")
    first = until(actor, lambda status: bool(status.lines))[-1]
    plan = TrainingPlan("parameter_server", 2, 1, DataFiles(("/d/a",), (8,)), None, 4, 5)
    assert actor.prepare(plan, generation=3) == first.address
    second = actor.poll()
    assert second.pid != first.pid and second.generation == 3 and first.generation == 2
    assert not psutil.pid_exists(first.pid)


def test_what_a_process_said_last_is_not_lost_when_it_is_replaced(start: Start) -> None:
    actor = start("report('line', text='last words'); told()")
    plan = TrainingPlan("parameter_server", 2, 1, DataFiles(("/d/a",), (8,)), None, 4, 5)
    actor._process._reader.join(PATIENCE)  # type: ignore[union-attr]
    actor.prepare(plan, generation=3)
    assert actor.poll().lines[:1] == ("last words",)


def test_a_process_that_is_stopped_by_a_signal_is_told_from_one_that_works(start: Start) -> None:
    actor = start("report('line', text='there'); time.sleep(60)")
    pid = until(actor, lambda status: bool(status.lines))[-1].pid
    assert not actor.poll().halted
    os.kill(pid, signal.SIGSTOP)
    until(actor, lambda status: status.halted)


def test_a_role_that_nobody_asks_for_ends_its_process_even_if_that_is_stopped(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = threading.Event()
    monkeypatch.setattr(role_actor, "_leave", left.set)
    actor = start("report('line', text='there'); time.sleep(60)", orphan_timeout_secs=4)
    pid = until(actor, lambda status: bool(status.lines))[-1].pid
    os.kill(pid, signal.SIGSTOP)
    end = time.monotonic() + 5
    while time.monotonic() < end:
        actor.beat()
        time.sleep(0.1)
    assert psutil.pid_exists(pid) and not left.is_set(), "as long as it is asked for it lives"
    assert left.wait(PATIENCE) and not psutil.pid_exists(pid)


def test_a_look_at_the_stacks_is_no_silence_of_the_command(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    left = threading.Event()
    monkeypatch.setattr(role_actor, "_leave", left.set)
    monkeypatch.setattr(role_actor, "dump_stacks", lambda pid, log: time.sleep(3))
    actor = start("report('line', text='there'); time.sleep(60)", orphan_timeout_secs=5)
    until(actor, lambda status: bool(status.lines))
    time.sleep(3)
    actor.dump_stacks()  # what the command says meanwhile is heard only afterwards
    assert not left.is_set()


def test_of_a_process_that_is_ended_by_order_that_is_known(start: Start) -> None:
    by_order, by_itself = start("time.sleep(60)"), start("os.kill(os.getpid(), 9)")
    until(by_itself, ended)
    for actor in (by_order, by_itself):
        actor.end_process()
    assert by_order.poll().exit_code == by_itself.poll().exit_code == -signal.SIGKILL
    assert by_order.poll().ended_by_command and not by_itself.poll().ended_by_command


@pytest.mark.parametrize("step", ["write", "close"])
def test_an_orphan_leaves_also_where_its_log_cannot_be_written(
    start: Start, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    left = threading.Event()
    monkeypatch.setattr(role_actor, "_leave", left.set)
    actor = start("report('line', text='there'); time.sleep(60)", orphan_timeout_secs=1.0)
    pid = until(actor, lambda status: bool(status.lines))[-1].pid
    monkeypatch.setattr(actor, "_log", LogOnAFullDisk(step))
    assert left.wait(PATIENCE) and not psutil.pid_exists(pid)
    assert not os.path.exists(actor._scratch_dir)


def test_an_order_to_stop_reaches_the_process(start: Start) -> None:
    actor = start("told(); told(); report('line', text=json.dumps(told())); time.sleep(60)")
    actor.start(TF_CONFIG)
    actor.request_stop()
    assert lines(until(actor, lambda status: bool(status.lines))) == ['{"stop": true}']


@pytest.mark.skipif(not may_trace(), reason="no right to trace processes here: CAP_SYS_PTRACE, or ptrace_scope 0 or 1")
def test_stacks_of_a_process_are_in_its_log(start: Start, tmp_path: Path) -> None:
    actor = start("def in_a_long_sleep(): time.sleep(60)\nreport('line', text='there'); in_a_long_sleep()")
    until(actor, lambda status: bool(status.lines))
    told = actor.dump_stacks()
    assert told.startswith("its stacks are in ") and told.endswith("chief-0.log")
    assert "in_a_long_sleep" in log_of(tmp_path)


@pytest.mark.parametrize(
    ("py_spy", "words"),
    [
        ("echo 'Error: Permission denied (os error 13)' >&2; exit 1", "no stacks: py-spy: Error: Permission denied"),
        ("echo 'Error: the process is gone' >&2; exit 1", "no stacks: py-spy: Error: the process is gone"),
        ("sleep 60", "no stacks: py-spy did not end within 0.2 s"),
    ],
)
def test_why_there_are_no_stacks_is_told(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, py_spy: str, words: str
) -> None:
    program = tmp_path / "py-spy"
    program.write_text(f"#!/bin/sh\n{py_spy.replace('sleep', 'exec sleep')}\n")
    program.chmod(0o755)
    monkeypatch.setattr(stack_dump, "_TIMEOUT_SECS", 0.2 if "sleep" in py_spy else 30.0)
    monkeypatch.setattr("shutil.which", lambda name, path: str(program))
    told = start("time.sleep(60)").dump_stacks()
    assert told.startswith(words) and ("CAP_SYS_PTRACE" in told) == ("Permission" in told)
