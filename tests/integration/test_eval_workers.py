"""launch.eval with several workers: the same as with one, also when one of them is killed."""

from __future__ import annotations

import json
import os
import signal
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from estimators.checkpoints.checkpoint_files import list_checkpoints, read_metrics
from estimators.experiment_options import ExperimentOptions
from estimators.train_dir.run_state import RunState, write_run_state
from tests.estimators.drawn_records import numbered_file
from tests.estimators.small_run import small_options, train
from tests.integration.commands import Finished, end_processes_with, run_command, running_command
from tests.integration.evaluation_models import GATE
from tests.integration.ray_nodes import ray_nodes

PATIENCE = 150.0


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> ExperimentOptions:
    """Of a finished run with two checkpoints."""
    folder = tmp_path_factory.mktemp("eval_workers")
    model = "tests.integration.evaluation_models:GatedModel"
    options = small_options(folder, model=model, max_steps=4, save_checkpoints_steps=4)
    train(options)
    write_run_state(options.train_dir, RunState.SUCCEEDED, 4)
    for i, count in enumerate((17, 5, 0, 21)):
        numbered_file(folder / "data" / f"set-{i}", range(60 * i, 60 * i + count))
    return options


@pytest.fixture(scope="module")
def rows_of_one(trained: ExperimentOptions) -> list[dict[str, Any]]:
    """What one process finds."""
    finished = evaluate(trained, 1)
    assert finished.code == 0, finished.output
    return rows(trained)


def flags(trained: ExperimentOptions, workers: int) -> tuple[str, ...]:
    pattern = str(Path(trained.train_data_pattern).parent / "set-*")
    return (
        f"--train_dir={trained.train_dir}",
        f"--eval_data_pattern={pattern}",
        "--batch_size=4",
        f"--eval_workers={workers}",
    )


def evaluate(trained: ExperimentOptions, workers: int) -> Finished:
    return run_command("launch.eval", *flags(trained, workers))


def rows(trained: ExperimentOptions) -> list[dict[str, Any]]:
    """The rows of metrics.jsonl, without their time; taken away, so that the next evaluation begins anew."""
    found = [{name: value for name, value in row.items() if name != "time"} for row in read_metrics(trained.train_dir)]
    Path(trained.train_dir, "eval", "metrics.jsonl").unlink()
    return found


@pytest.fixture
def gate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where evaluations wait to be let through."""
    monkeypatch.setenv(GATE, str(tmp_path))
    return tmp_path


def waiting_at(gate: Path, count: int) -> list[int]:
    """The process ids of so many evaluations that wait."""
    until = time.monotonic() + PATIENCE
    while len(found := sorted(int(path.name) for path in gate.iterdir() if path.name.isdigit())) < count:
        assert time.monotonic() < until, f"{found} wait, not {count}"
        time.sleep(0.1)
    return found


def test_three_workers_find_what_one_finds(trained: ExperimentOptions, rows_of_one: list[dict[str, Any]]) -> None:
    finished = evaluate(trained, 3)
    assert finished.code == 0, finished.output
    steps = [checkpoint.step for checkpoint in list_checkpoints(trained.train_dir)]
    assert rows(trained) == rows_of_one and [row["global_step"] for row in rows_of_one] == steps == [0, 4]
    assert rows_of_one[0]["examples"] == 43 and json.dumps(rows_of_one)
    for step in steps:
        of_step = [line for line in finished.lines if f" {step} | " in line]
        assert [line.split()[0] for line in of_step] == [*["examples_processed:"] * 3, "epoch/eval"]
        assert of_step[2].startswith(f"examples_processed: 43 | global_step {step} | Batch Hit@1: ")
    assert finished.lines[-1].startswith("evaluation ends") and finished.left_behind() == []


@pytest.fixture
def three_workers(trained: ExperimentOptions, gate: Path) -> Iterator[tuple[Any, list[int]]]:
    """A running command, whose three workers wait before their first batch."""
    with running_command("launch.eval", *flags(trained, 3)) as (process, _):
        yield process, waiting_at(gate, 3)


def test_the_part_of_a_worker_that_is_killed_is_evaluated_again(
    trained: ExperimentOptions, rows_of_one: list[dict[str, Any]], gate: Path, three_workers: tuple[Any, list[int]]
) -> None:
    process, workers = three_workers
    os.kill(workers[1], signal.SIGKILL)
    waiting_at(gate, 4)
    (gate / "go").touch()
    output, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, output
    assert len([line for line in output.splitlines() if " died (ActorDiedError); a new one " in line]) == 1
    assert rows(trained) == rows_of_one


@pytest.mark.slow
@pytest.mark.parametrize("comes_again", [True, False])
def test_the_part_of_a_lost_node_waits_for_room_as_long_as_allowed(
    trained: ExperimentOptions, rows_of_one: list[dict[str, Any]], gate: Path, comes_again: bool
) -> None:
    mark = uuid.uuid4().hex
    try:
        with ray_nodes(mark) as nodes:
            hosts = [nodes.add(2), nodes.add(1)]
            patience = "--placement_timeout_secs=60" if comes_again else "--placement_timeout_secs=1"
            with running_command("launch.eval", *flags(trained, 3), patience, env=nodes.environment) as (process, _):
                waiting_at(gate, 3)
                nodes.kill_raylet(hosts[1])
                if comes_again:
                    nodes.add(1)
                    waiting_at(gate, 4)
                    (gate / "go").touch()
                output, _ = process.communicate(timeout=PATIENCE)
    finally:
        end_processes_with(mark)
    assert len([line for line in output.splitlines() if "; a new one evaluates its part" in line]) == 1
    if comes_again:
        assert process.returncode == 0, output
        assert rows(trained) == rows_of_one
    else:
        assert process.returncode == 3 and "no room for evaluation worker" in output, output
        assert "Traceback" not in output and not read_metrics(trained.train_dir)


def test_a_command_that_is_terminated_leaves_nothing_running(three_workers: tuple[Any, list[int]]) -> None:
    process, workers = three_workers
    family = [psutil.Process(pid) for pid in workers]
    process.terminate()
    process.communicate(timeout=PATIENCE)
    assert process.returncode == 128 + signal.SIGTERM
    _, alive = psutil.wait_procs(family, timeout=10)
    assert not alive


def test_more_workers_than_examples_are_refused_before_anything_starts(trained: ExperimentOptions) -> None:
    finished = evaluate(trained, 44)
    assert finished.code == 2
    assert "fewer validation examples than workers" in finished.output and "43 examples" in finished.output
    assert "--eval_workers to at most 43" in finished.output
    assert not Path(trained.train_dir, "eval", "metrics.jsonl").exists()
