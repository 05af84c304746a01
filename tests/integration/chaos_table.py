"""What must come of each blow to each role under each strategy, and how that is seen."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterator

from estimators.checkpoints.checkpoint_files import failed_steps
from tests.cvd_cluster.tracing import may_trace
from tests.integration.chaos import NUM_WORKERS, STRATEGIES, Cell, Outcome
from tests.integration.commands import end_processes_with
from tests.integration.ray_nodes import RayNodes, ray_nodes

ROLES = ("chief-0", "worker-0", "ps-0", "evaluator-0")
BLOWS = ("SIGKILL", "SIGSTOP", "error", "actor", "raylet")
PS, MWMS = STRATEGIES
# Fifteen seconds, and as much again where others keep the processors busy: a role whose peers are gone may take 40 s to
# end by itself, and nobody is to wait for that.
_AT_ONCE_SECS = 30.0
# What the log must tell of the role that was struck.
_CAUSES = {
    "SIGKILL": "SIGKILL",
    "SIGSTOP": "SIGSTOP",
    "actor": "actor on Ray is gone",
    "raylet": "node is gone",
    "preemption": "Ray had announced that",
}


def impossible(cell: Cell) -> str | None:
    """Why there is no such cell."""
    if cell.role == "ps-0" and cell.strategy == MWMS:
        return "multi_worker_mirrored has no parameter servers"
    if cell.role == "ps-0" and cell.blow == "error":
        return "a parameter server runs no code of the user's"
    return None


def expected(cell: Cell) -> str:
    """What must come of a blow: "fails", "goes on without", "in place" or "new generation"."""
    if cell.blow == "error":
        return "goes on without" if cell.role == "evaluator-0" else "fails"
    if cell.role == "evaluator-0":
        return "in place"
    return "in place" if (cell.strategy, cell.blow) == (PS, "SIGKILL") else "new generation"


ALL = [cell for s in STRATEGIES for r in ROLES for b in BLOWS if impossible(cell := Cell(s, r, b)) is None]


@contextlib.contextmanager
def nodes_for(cell: Cell) -> Iterator[RayNodes | None]:
    """Two nodes with room for all roles together, for the cells that kill one; None for the others."""
    if not cell.takes_node:
        yield None
        return
    mark = f"nodes of {cell} {uuid.uuid4().hex}"
    try:
        with ray_nodes(mark) as cluster:
            cluster.add(2)
            cluster.add(2)
            yield cluster
    finally:
        end_processes_with(mark)


def check(outcome: Outcome) -> None:
    """Asserts that a run ended as it must."""
    cell, what = outcome.cell, expected(outcome.cell)
    assert outcome.pid > 0, "it ended before the blow"
    assert outcome.left_behind == []
    if what == "fails":
        assert outcome.code == 2 and outcome.state == "FAILED"
        assert outcome.ended_at - outcome.struck_at < _AT_ONCE_SECS
        assert outcome.output.count("error: ") == 1 and f"error: {cell.role} failed: " in outcome.output
        assert "the author forgot something" in outcome.output
        assert not outcome.events("process_restarted", "generation_ended"), "user errors are never retried"
        assert any("the author forgot something" in row["cause"] for row in outcome.of_victim("process_ended"))
        assert f"{cell.role} failed" in outcome.events("run_ended")[-1]["cause"]
        return
    last = outcome.last_step
    # Asynchronous workers pass the last step by less than their number.
    assert last == cell.max_steps or (cell.strategy == PS and cell.max_steps <= last < cell.max_steps + NUM_WORKERS)
    if what == "goes on without":
        assert outcome.code == 2 and "Traceback (most recent call last)" in outcome.output
        failed = failed_steps(str(outcome.train_dir))
        assert failed | outcome.evaluated >= {0, last} and f"of step {min(failed)}" in outcome.output
        assert not outcome.events("generation_ended", "process_restarted"), "training never noticed"
        assert f"of step {min(failed)}" in outcome.events("evaluator_given_up")[-1]["cause"]
        return
    assert outcome.code == 0 and outcome.state == "SUCCEEDED"
    assert last in outcome.evaluated
    check_events(outcome, what)


def check_events(outcome: Outcome, what: str) -> None:
    ends = [row["cause"] for row in outcome.of_victim("process_ended", "hang", "process_restarted")]
    assert any(_CAUSES[outcome.cell.blow] in cause for cause in ends), ends
    blamed = [row for row in outcome.events("process_ended") if "SIGKILL" in row["cause"] and row["pid"] != outcome.pid]
    assert not blamed, "nobody but the victim was killed"
    assert len({row["pid"] for row in outcome.of_victim("process_started")}) == 2
    generations = [row["generation"] for row in outcome.events("generation_started")]
    if what == "new generation":
        assert generations == [1, 2] and len(outcome.events("generation_ended")) == 1
        restarted = {row["role"] for row in outcome.events("process_restarted")}
        assert restarted <= {"evaluator"}, "who trains is started with the generation"
    elif not outcome.cell.takes_node:
        assert generations == [1] and len(outcome.events("process_restarted")) == 1
    if outcome.cell.blow == "SIGSTOP":
        check_stacks(outcome)
    assert outcome.events("run_ended")[-1]["cause"] == "SUCCEEDED"


def check_stacks(outcome: Outcome) -> None:
    """Those of the role that stood still are in its log; nobody waits for an evaluator, so only its own are taken."""
    told = [row["cause"] for row in outcome.events("stacks")]
    if outcome.cell.role == "evaluator-0":
        assert len(told) == 1 == len(outcome.of_victim("stacks"))
    else:
        assert len(told) >= NUM_WORKERS
    assert all("stacks" in cause for cause in told), told
    if may_trace():
        assert next(row["cause"] for row in outcome.of_victim("stacks")).startswith("its stacks are in "), told
        log = (outcome.train_dir / "logs" / f"{outcome.cell.role}.log").read_text()
        assert f"the stacks of process {outcome.pid}\n" in log
