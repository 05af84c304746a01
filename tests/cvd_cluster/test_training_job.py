"""How a distributed run ends, from its front door; without Ray and TensorFlow."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from ray.exceptions import RaySystemError

from cvd_cluster import training_job
from cvd_cluster.checked_run import CheckedRun
from cvd_cluster.cluster_options import ClusterOptions
from cvd_cluster.supervision_options import SupervisionOptions
from cvd_cluster.topology import Task
from cvd_cluster.training_job import train_on_cluster
from estimators.errors import InfrastructureError, UserError
from estimators.experiment_options import ExperimentOptions
from estimators.inputs.data_check import DataFiles
from estimators.train_dir.generation import FencedError
from estimators.train_dir.run_state import RunState, read_run_state, write_run_state
from estimators.training_plan import TrainingPlan


def state_after(
    folder: Path, error: BaseException, monkeypatch: pytest.MonkeyPatch, *, announce: Callable[[str], None] = print
) -> RunState:
    """What is recorded of a run whose supervision ends with this error."""
    plan = TrainingPlan("multi_worker_mirrored", 1, 1, DataFiles(("/d/a",), (8,)), None, 4, 5)

    @contextlib.contextmanager
    def checked(*args: object, **kwargs: object) -> Iterator[CheckedRun]:
        yield CheckedRun(plan, (Task("chief", 0, 1.0, 0),), None, 0.0, {}, lambda tasks, group, pause=None: {})

    def fail(self: object) -> None:
        raise error

    monkeypatch.setattr(training_job, "checked_run", checked)
    monkeypatch.setattr("cvd_cluster.supervision.supervisor.Supervisor.run", fail)
    options = ExperimentOptions(train_dir=str(folder / "run"), train_data_pattern="/d/*")
    cluster = ClusterOptions(strategy="multi_worker_mirrored")
    with contextlib.suppress(KeyboardInterrupt, SystemExit):
        train_on_cluster(options, cluster, SupervisionOptions(), start_new_model=False, announce=announce)
    record = read_run_state(options.train_dir)
    assert record is not None
    return record.state


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(143)])
def test_a_second_signal_stops_a_run_and_does_not_make_it_fail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    assert state_after(tmp_path, error, monkeypatch) is RunState.STOPPED


def test_an_error_of_ray_s_is_told_without_a_traceback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InfrastructureError, match="Ray failed") as caught:
        state_after(tmp_path, RaySystemError("no answer"), monkeypatch)
    assert caught.value.exit_code == 3 and "no answer" in caught.value.found
    record = read_run_state(str(tmp_path / "run"))
    assert record is not None and record.state is RunState.FAILED


def test_a_disk_that_takes_no_state_does_not_hide_why_the_run_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(train_dir: str, state: RunState, max_steps: int) -> None:
        if state is RunState.FAILED:
            raise OSError(errno.ENOSPC, "No space left on device")
        write_run_state(train_dir, state, max_steps)

    monkeypatch.setattr(training_job, "write_run_state", full)
    with pytest.raises(UserError, match="The loss is NaN"):
        state_after(tmp_path, UserError("The loss is NaN in step 3"), monkeypatch)


def test_a_run_whose_folder_another_one_has_taken_does_not_write_over_its_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(FencedError):
        state_after(tmp_path, FencedError("A later generation has taken over"), monkeypatch)
    record = read_run_state(str(tmp_path / "run"))
    assert record is not None and record.state is RunState.RUNNING, "as the other one wrote"


@pytest.mark.parametrize(("job", "wait", "warned"), [(True, None, True), (True, "30", False), (False, None, False)])
def test_a_job_that_ray_would_stop_within_3_seconds_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, job: bool, wait: str | None, warned: bool
) -> None:
    monkeypatch.setattr(training_job, "in_ray_job", lambda: job)
    monkeypatch.delenv("RAY_JOB_STOP_WAIT_TIME_S", raising=False)
    if wait is not None:
        monkeypatch.setenv("RAY_JOB_STOP_WAIT_TIME_S", wait)
    lines: list[str] = []
    state_after(tmp_path, KeyboardInterrupt(), monkeypatch, announce=lines.append)
    assert any("RAY_JOB_STOP_WAIT_TIME_S" in line for line in lines) == warned, lines
