"""What happens to a run, between two snapshots and in its log."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cvd_cluster.roles.role_status import RolePhase
from cvd_cluster.supervision.event_log import EventKind, EventLog
from cvd_cluster.supervision.snapshot import GroupSnapshot
from cvd_cluster.supervision.transitions import event_of, transitions
from cvd_cluster.topology import Task
from estimators.train_dir import train_dir_lock
from tests.cvd_cluster.fakes import failure, status

CHIEF, WORKER = Task("chief", 0, 1.0, 0), Task("worker", 1, 1.0, 0)


def kinds(before: GroupSnapshot | None, after: GroupSnapshot) -> list[tuple[str, str]]:
    return [(f"{event.role}-{event.index}", event.event.value) for event in transitions(before, after)]


def test_each_change_is_told_once() -> None:
    starting = GroupSnapshot(1.0, 0.0, {CHIEF: status(CHIEF, RolePhase.STARTING)})
    training = GroupSnapshot(2.0, 0.0, {CHIEF: status(CHIEF)})
    finished = GroupSnapshot(3.0, 0.0, {CHIEF: status(CHIEF, training_finished=True)})
    done = GroupSnapshot(4.0, 0.0, {CHIEF: status(CHIEF, RolePhase.DONE, training_finished=True)})
    assert kinds(None, starting) == [("chief-0", "process_started")]
    assert kinds(starting, training) == [("chief-0", "first_step")]
    assert kinds(training, training) == []
    assert kinds(training, finished) == [("chief-0", "training_finished")]
    assert kinds(finished, done) == [("chief-0", "process_ended")]
    assert kinds(starting, done) == [("chief-0", kind) for kind in ("first_step", "training_finished", "process_ended")]


def test_a_new_process_tells_its_own_story() -> None:
    lost = GroupSnapshot(1.0, 0.0, {WORKER: status(WORKER, RolePhase.LOST)})
    again = GroupSnapshot(2.0, 0.0, {WORKER: status(WORKER, pid=99)})
    unknown = GroupSnapshot(2.0, 0.0, {WORKER: status(WORKER, RolePhase.STARTING, pid=-1)})
    assert kinds(lost, again) == [("worker-1", "process_started"), ("worker-1", "first_step")]
    assert kinds(lost, unknown) == [], "nothing is known of it yet"


def test_an_end_is_told_with_its_cause() -> None:
    before = GroupSnapshot(1.0, 0.0, {CHIEF: status(CHIEF), WORKER: status(WORKER)})
    ends = {CHIEF: status(CHIEF, RolePhase.LOST), WORKER: status(WORKER, RolePhase.FAILED, failure=failure())}
    after = GroupSnapshot(2.0, 0.0, ends)
    killed, failed = transitions(before, after)
    assert "SIGKILL" in killed.cause and "KeyError: the author forgot something" in failed.cause


def test_the_log_is_json_lines_and_the_console_hears_the_same(tmp_path: Path) -> None:
    lines: list[str] = []
    log = EventLog(str(tmp_path), announce=lines.append, clock=lambda: 7.0)
    log.generation = 3
    log.of_run(EventKind.GENERATION_STARTED, "why")
    log.record(event_of(EventKind.PROCESS_ENDED, status(WORKER, RolePhase.LOST), 8.0, "it was killed"))
    run, role = [json.loads(line) for line in (tmp_path / "events.jsonl").read_text().splitlines()]
    assert (run["time"], run["event"], run["role"], run["generation"]) == (7.0, "generation_started", None, 3)
    assert role == {
        "time": 8.0,
        "event": "process_ended",
        "role": "worker",
        "index": 1,
        "generation": 1,
        "host": "127.0.0.2",
        "address": "127.0.0.2:4000",
        "pid": 4711,
        "cause": "it was killed",
    }
    assert len(lines) == 2 and "worker-1" in lines[1] and "it was killed" in lines[1] and "4711" in lines[1]


def test_an_event_is_kept_also_if_nobody_can_be_told(tmp_path: Path) -> None:
    def gone(line: str) -> None:
        raise BrokenPipeError("the console")

    with pytest.raises(BrokenPipeError):
        EventLog(str(tmp_path), announce=gone).of_run(EventKind.RUN_ENDED)
    assert "run_ended" in (tmp_path / "events.jsonl").read_text()


def test_the_log_of_a_run_that_took_the_folder_over_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines: list[str] = []
    log = EventLog(str(tmp_path), announce=lines.append)
    log.of_run(EventKind.GENERATION_STARTED)
    monkeypatch.setattr(train_dir_lock, "_lost_here", {str(tmp_path)})
    log.of_run(EventKind.RUN_ENDED)
    assert len(lines) == 2 and len((tmp_path / "events.jsonl").read_text().splitlines()) == 1


def test_a_log_that_cannot_be_written_ends_no_run(tmp_path: Path) -> None:
    lines: list[str] = []
    EventLog(str(tmp_path / "gone"), announce=lines.append).of_run(EventKind.RUN_ENDED)
    assert len(lines) == 2 and "cannot be written" in lines[1]
