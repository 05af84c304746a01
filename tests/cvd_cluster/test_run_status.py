from __future__ import annotations

import dataclasses
import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from cvd_cluster.run_status import RunStatus, read_status
from cvd_cluster.status_report import StatusOptions, print_status, status_lines
from estimators.errors import UserError
from estimators.experiment_options import ExperimentOptions
from estimators.processes.process_identity import this_process
from estimators.train_dir import experiment_file
from estimators.train_dir.run_state import RunState, write_run_state
from estimators.train_dir.train_dir_lock import locked
from estimators.train_dir.training_progress import ProgressFile, read_progress
from tests.estimators.made_checkpoints import write_checkpoint


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A folder where a run has begun that has saved nothing yet."""
    options = ExperimentOptions(train_dir=str(tmp_path), train_data_pattern="/d/*", model="CnnModel")
    experiment_file.begin(options, start_new_model=True)
    return tmp_path


def event(event: str, role: str | None = None, index: int | None = None, **values: Any) -> dict[str, Any]:
    """As the supervisor writes it."""
    base = {"generation": 1, "host": None, "address": None, "pid": None, "cause": "", "time": time.time()}
    return {**base, "event": event, "role": role, "index": index, **values}


def write_events(run: Path, *events: dict[str, Any]) -> None:
    with (run / "events.jsonl").open("a") as file:
        file.writelines(json.dumps(one) + "\n" for one in events)


def text(run: Path) -> str:
    return "\n".join(status_lines(read_status(str(run))))


def test_a_folder_without_a_run_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="No training run here"):
        read_status(str(tmp_path))


def test_a_run_that_has_not_begun_is_shown_as_that(run: Path) -> None:
    assert read_status(str(run)).state == "NOT BEGUN" and "NOT BEGUN" in text(run)


def test_a_running_run_is_shown_with_step_speed_and_who_runs_where(run: Path) -> None:
    write_checkpoint(run, 20)
    (run / "export" / "step_20").mkdir(parents=True)
    (run / "export" / "step_20" / "saved_model.pb").touch()
    (run / "eval").mkdir()
    (run / "eval" / "metrics.jsonl").write_text('{"global_step": 20, "hit_at_1": 0.75, "time": 5.0}\n')
    write_events(
        run,
        event("generation_started"),
        event("process_started", "chief", 0, host="10.0.0.1", pid=11),
        event("process_started", "worker", 0, host="10.0.0.2", pid=12),
        event("process_restarted", "worker", 0, host="10.0.0.2", pid=12, cause="ended by SIGKILL"),
        event("process_started", "worker", 0, host="10.0.0.2", pid=13),
    )
    with locked(str(run)):
        write_run_state(str(run), RunState.RUNNING, 200)
        ProgressFile(str(run)).write(24, 812.34, {"loss": 0.5})
        status = read_status(str(run))
        told = text(run)
    assert (status.state, status.step, status.max_steps) == ("RUNNING", 24, 200)
    assert status.since is not None and time.time() - status.since < 60
    assert [(role.name, role.pid, role.restarts, role.state) for role in status.roles] == [
        ("chief-0", 11, 0, "runs"),
        ("worker-0", 13, 1, "runs"),
    ]
    for part in (
        f"RUNNING: process {os.getpid()} on",
        "24 of 200 (12 %)",
        "812.3 examples/s",
        "generation 1; in this run 0 new generations and 1 restarts in place",
        "of step 20; exported step 20",
        "loss 0.5",
        "of step 20: hit_at_1 0.75",
        "process started of worker-0",
        "process 13 on 10.0.0.2, generation 1, restarted 1 times: runs",
    ):
        assert part in told, (part, told)


@pytest.mark.parametrize("state", [RunState.SUCCEEDED, RunState.FAILED])
def test_a_run_that_ended_is_shown_with_how_each_role_ended(run: Path, state: RunState) -> None:
    write_checkpoint(run, 200)
    write_events(
        run,
        event("process_started", "chief", 0, pid=11),
        event("process_started", "ps", 0, pid=12),
        event("process_ended", "chief", 0, pid=11, cause="KeyError: x" if state is RunState.FAILED else ""),
        event("run_ended", cause=state.value),
    )
    write_run_state(str(run), state, 200)
    status = read_status(str(run))
    assert status.state == state.value and status.since is None and status.step == 200
    ends = {role.name: role.state for role in status.roles}
    assert ends == {"chief-0": "KeyError: x" if state is RunState.FAILED else "done", "ps-0": "ended with the run"}
    assert state.value in text(run)


def test_a_run_that_was_killed_is_shown_as_that(run: Path) -> None:
    write_run_state(str(run), RunState.RUNNING, 200)
    values = json.loads((run / "run_state.json").read_text())
    gone = dataclasses.replace(this_process(), started_ticks=5)
    (run / "run_state.json").write_text(json.dumps({**values, "process": dataclasses.asdict(gone)}))
    assert read_status(str(run)).state == "KILLED"
    assert f"process {os.getpid()}" in text(run) and "is gone; the same command" in text(run)


def test_only_the_last_run_counts(run: Path) -> None:
    write_events(
        run,
        event("process_started", "worker", 5, pid=1),
        event("process_restarted", "worker", 5, pid=1),
        event("run_ended"),
        event("process_started", "chief", 0, pid=2, generation=2),
    )
    status = read_status(str(run))
    assert [role.name for role in status.roles] == ["chief-0"] and (status.generation, status.restarts) == (2, 0)


def test_what_a_run_that_was_killed_had_mended_is_not_this_run_s(run: Path) -> None:
    write_events(
        run,
        event("generation_started"),
        event("process_restarted", "worker", 0, pid=1),
        event("generation_started", cause="worker-0: its node is gone", generation=2),
        event("generation_started", generation=3),
        event("process_started", "chief", 0, pid=2, generation=3),
        event("generation_started", cause="chief-0: killed", generation=4),
    )
    status = read_status(str(run))
    assert (status.generation, status.new_generations, status.restarts) == (4, 1, 0)


def test_a_checkpoint_that_is_newer_than_the_last_report_counts(run: Path) -> None:
    ProgressFile(str(run), clock=lambda: time.time() - 100).write(50, 1.0, {})
    write_checkpoint(run, 30)
    assert read_status(str(run)).step == 30, "a run that went on from an older checkpoint"


def test_files_that_are_cut_off_are_passed_over(run: Path) -> None:
    write_events(run, event("process_started", "chief", 0, pid=2))
    with (run / "events.jsonl").open("a") as file:
        file.write('{"event": "proc')
    (run / "progress.json").write_text('{"time": ')
    (run / "run_state.json").write_text("")
    assert len(read_status(str(run)).roles) == 1


def test_machines_get_all_of_it_as_json(run: Path) -> None:
    write_run_state(str(run), RunState.SUCCEEDED, 200)
    lines: list[str] = []
    print_status(StatusOptions(train_dir=str(run), json=True), announce=lines.append)
    (line,) = lines
    assert set(json.loads(line)) == {field.name for field in dataclasses.fields(RunStatus)}
    assert json.loads(line)["state"] == "SUCCEEDED" and json.loads(line)["process"]["pid"] == os.getpid()


def test_a_look_writes_nothing(run: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*")}
    read_status(str(run))
    assert {path: path.stat().st_mtime_ns for path in run.rglob("*")} == before


def test_progress_is_written_every_few_seconds_at_most(tmp_path: Path) -> None:
    now = [100.0]
    progress = ProgressFile(str(tmp_path), clock=lambda: now[0])
    for step in (1, 2, 3):
        progress.write(step, 1.0, {})
    found = read_progress(str(tmp_path))
    assert found is not None and found.global_step == 1
    now[0] += 5
    progress.write(4, 1.0, {})
    found = read_progress(str(tmp_path))
    assert found is not None and found.global_step == 4


def test_progress_that_cannot_be_written_ends_nothing(tmp_path: Path) -> None:
    ProgressFile(str(tmp_path / "missing")).write(1, 1.0, {})
    assert read_progress(str(tmp_path / "missing")) is None
