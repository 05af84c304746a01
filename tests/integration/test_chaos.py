"""Roles are killed, stopped, made to fail, cut off from Ray: the run ends as it should, and its log tells the truth.

The whole table (chaos_table.py) is `make test-chaos`; `make test` takes the cells of SHORT.
`python -m benchmarks.chaos` prints it with seconds and steps.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.chaos import Cell, Outcome, run_cell
from tests.integration.chaos_table import ALL, MWMS, PS, check, nodes_for
from tests.integration.ray_nodes import RayNodes

SHORT = [
    Cell(PS, "ps-0", "SIGKILL"),
    Cell(PS, "chief-0", "SIGKILL"),
    Cell(MWMS, "worker-0", "SIGKILL"),
    Cell(MWMS, "worker-0", "error"),
    Cell(MWMS, "evaluator-0", "SIGKILL"),
    Cell(MWMS, "chief-0", "raylet"),
]


@pytest.fixture
def nodes(request: pytest.FixtureRequest) -> Iterator[RayNodes | None]:
    with nodes_for(request.node.callspec.params["cell"]) as cluster:
        yield cluster


@pytest.mark.parametrize(
    "cell",
    [pytest.param(cell, id=str(cell), marks=() if cell in SHORT else pytest.mark.slow) for cell in ALL],
)
def test_a_blow_to_a_role(cell: Cell, nodes: RayNodes | None, tmp_path: Path) -> None:
    outcome = run_cell(cell, tmp_path, nodes=nodes)
    try:
        check(outcome)
    except AssertionError as error:
        raise AssertionError(f"{error}\n{told(outcome)}") from None


@pytest.mark.slow
@pytest.mark.parametrize("cell", [Cell(MWMS, "worker-0", "preemption")])
def test_a_preemption_that_ray_announced_is_not_charged(cell: Cell, nodes: RayNodes | None, tmp_path: Path) -> None:
    outcome = run_cell(cell, tmp_path, "--max_generations=0", nodes=nodes)
    try:
        check(outcome)
    except AssertionError as error:
        raise AssertionError(f"{error}\n{told(outcome)}") from None


@pytest.mark.slow
@pytest.mark.parametrize("cell", [Cell(MWMS, "worker-0", "raylet")])
def test_without_another_node_a_run_goes_on_with_fewer_workers(
    cell: Cell, nodes: RayNodes | None, tmp_path: Path
) -> None:
    flags = ("--placement_timeout_secs=0", "--min_workers=1")
    outcome = run_cell(cell, tmp_path, *flags, nodes=nodes, replaced=False)
    assert outcome.code == 0 and outcome.state == "SUCCEEDED", told(outcome)
    assert outcome.last_step == cell.max_steps and outcome.last_step in outcome.evaluated
    assert [row["cause"] for row in outcome.events("fewer_workers")] == ["1 instead of 2"], told(outcome)
    assert outcome.left_behind == []


def told(outcome: Outcome) -> str:
    """All that is known of a run that did not end as it should."""
    logs = sorted(outcome.train_dir.glob("logs/*.log"))
    parts = [("output", outcome.output[-6000:]), *((path.name, path.read_text()[-2000:]) for path in logs)]
    return "\n".join(f"=== {name}\n{text}" for name, text in parts)
