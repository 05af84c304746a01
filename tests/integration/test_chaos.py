"""Roles are killed, stopped, made to fail, cut off from Ray: the run ends as it should, and its log tells the truth.

The whole table (chaos_table.py) is `make test-chaos`; `make test` takes the cells of SHORT, `make test-slow` two more.
`python -m benchmarks.chaos` prints it with seconds and steps.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.chaos import Cell, Outcome, run_cell
from tests.integration.chaos_table import ALL, MWMS, PS, check, nodes_for
from tests.integration.commands import end_processes_with
from tests.integration.ray_nodes import RayNodes, ray_nodes

SHORT = [
    Cell(PS, "ps-0", "SIGKILL"),
    Cell(MWMS, "worker-0", "SIGKILL"),
]
SLOW = [
    Cell(MWMS, "evaluator-0", "SIGKILL"),
    Cell(MWMS, "chief-0", "raylet"),
]


def _marks(cell: Cell) -> Any:
    if cell in SHORT:
        return ()
    return pytest.mark.slow if cell in SLOW else pytest.mark.chaos


@pytest.fixture
def nodes(request: pytest.FixtureRequest) -> Iterator[RayNodes | None]:
    with nodes_for(request.node.callspec.params["cell"]) as cluster:
        yield cluster


@pytest.mark.parametrize(
    "cell",
    [pytest.param(cell, id=str(cell), marks=_marks(cell)) for cell in ALL],
)
def test_a_blow_to_a_role(cell: Cell, nodes: RayNodes | None, tmp_path: Path) -> None:
    outcome = run_cell(cell, tmp_path, nodes=nodes)
    try:
        check(outcome)
    except AssertionError as error:
        raise AssertionError(f"{error}\n{told(outcome)}") from None


@pytest.mark.chaos
@pytest.mark.parametrize("cell", [Cell(MWMS, "worker-0", "preemption")])
def test_a_preemption_that_ray_announced_is_not_charged(cell: Cell, nodes: RayNodes | None, tmp_path: Path) -> None:
    outcome = run_cell(cell, tmp_path, "--max_generations=0", nodes=nodes)
    try:
        check(outcome)
    except AssertionError as error:
        raise AssertionError(f"{error}\n{told(outcome)}") from None


@pytest.mark.chaos
def test_an_evaluator_whose_node_never_comes_back_evaluates_in_the_end_where_others_trained(tmp_path: Path) -> None:
    cell, mark = Cell(MWMS, "evaluator-0", "raylet"), uuid.uuid4().hex
    try:
        with ray_nodes(mark) as cluster:
            # Ray fills the one with room for two first.
            cluster.add(2)
            alone = cluster.add(1)
            outcome = run_cell(cell, tmp_path, nodes=cluster, replaced=False)
    finally:
        end_processes_with(mark)
    try:
        assert {row["host"] for row in outcome.of_victim("process_started")[:1]} == {alone}, (
            "for lack of room elsewhere"
        )
        assert outcome.code == 0 and outcome.state == "SUCCEEDED" and outcome.left_behind == []
        assert outcome.last_step == cell.max_steps and outcome.last_step in outcome.evaluated
        assert outcome.of_victim("waiting_for_nodes") and not outcome.events("generation_ended"), (
            "training never noticed"
        )
        finished = outcome.events("training_finished")[0]["time"]
        assert outcome.of_victim("process_started")[-1]["time"] > finished
    except AssertionError as error:
        raise AssertionError(f"{error}\n{told(outcome)}") from None


# What is left of the two nodes has room for two: for both workers without the evaluator, or for chief and ps.
@pytest.mark.chaos
@pytest.mark.parametrize(
    ("cell", "fewer"),
    [(Cell(MWMS, "worker-0", "raylet"), []), (Cell(PS, "worker-0", "raylet"), ["1 instead of 2"])],
)
def test_without_another_node_a_run_goes_on_with_as_many_workers_as_there_is_room_for(
    cell: Cell, fewer: list[str], nodes: RayNodes | None, tmp_path: Path
) -> None:
    flags = ("--placement_timeout_secs=0", "--min_workers=1")
    outcome = run_cell(cell, tmp_path, *flags, nodes=nodes, replaced=False)
    assert outcome.code == 0 and outcome.state == "SUCCEEDED", told(outcome)
    assert cell.max_steps <= outcome.last_step < cell.max_steps + 2, told(outcome)
    assert outcome.last_step in outcome.evaluated, told(outcome)
    assert [row["cause"] for row in outcome.events("fewer_workers")] == fewer, told(outcome)
    assert outcome.left_behind == []


def told(outcome: Outcome) -> str:
    """All that is known of a run that did not end as it should."""
    logs = sorted(outcome.train_dir.glob("logs/*.log"))
    events = "\n".join(json.dumps(event)[:2000] for event in outcome.events())
    output = [("output", outcome.output[-2000:])]
    parts = [("events", events), *output, *((path.name, path.read_text()[-2000:]) for path in logs)]
    return "\n".join(f"=== {name}\n{text}" for name, text in parts)
