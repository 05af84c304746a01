"""What becomes of a run when a role of it is struck, and how long that takes:

    python -m benchmarks.chaos [--only=parameter_server] [--rounds=1]

For each cell a real run on this machine is struck once; see tests/integration/chaos.py. Seconds are from the blow to
the next training step (under parameter_server, where the others go on, of the worker that was struck). A hang is
noticed after the 10 s that these runs give it (--hang_timeout_secs), a lost node by Ray after about 15 s.
"""

from __future__ import annotations

import sys
import tempfile
import traceback
from dataclasses import dataclass
from pathlib import Path

if __package__ in (None, ""):  # as `python benchmarks/chaos.py`
    sys.path.insert(0, str(Path(__file__).parents[1]))

from estimators.options import Options, option
from launch.flags import parse_flags, run_command
from tests.integration.chaos import STRATEGIES, Cell, Outcome, run_cell
from tests.integration.chaos_table import BLOWS, ROLES, check, expected, impossible, nodes_for


@dataclass(frozen=True, kw_only=True)
class BenchmarkOptions(Options):
    """What to strike."""

    only: str | None = option(None, group="benchmark", help="cells whose name has this in it, as worker-0-SIGKILL")
    rounds: int = option(1, group="benchmark", at_least=1, help="times that each cell is run")


def _row(cell: Cell) -> tuple[str, bool]:
    """The row of a cell, and whether it came out as it must, in time."""
    if reason := impossible(cell):
        return f"| {cell.strategy} | {cell.role} | {cell.blow} | none: {reason} | | |", True
    in_time = True
    with tempfile.TemporaryDirectory() as folder, nodes_for(cell) as nodes:
        outcome = run_cell(cell, Path(folder), nodes=nodes)
        what = expected(cell)
        try:
            check(outcome)
        except AssertionError as error:
            line = traceback.extract_tb(error.__traceback__)[-1].line
            what = f"NOT AS EXPECTED ({what}): {line} {' '.join(str(error).split())[:100]}"
            _tell(outcome)
        seconds = outcome.seconds_to_next_step() if outcome.state == "SUCCEEDED" else None
        lost = f"{outcome.steps_lost()}" if seconds is not None else ""
        shown = f"{seconds:.1f}" if seconds is not None else ""
        if seconds is not None:
            shown += f" of {_goal(cell)}"
            in_time = seconds <= _goal(cell)
            if not in_time:
                shown += " TOO SLOW"
                _tell(outcome)
    well = in_time and "NOT AS" not in what
    return f"| {cell.strategy} | {cell.role} | {cell.blow} | {what} | {shown} | {lost} |", well


def _tell(outcome: Outcome) -> None:
    """What the command printed, with seconds since the blow."""
    print(f"{outcome.cell} ended with {outcome.code}, {outcome.state}:", file=sys.stderr)
    for at, line in outcome.lines:
        print(f"{at - outcome.struck_at:8.2f} {line}", file=sys.stderr)


def _goal(cell: Cell) -> int:
    """Seconds to the next step that are wanted on two cores."""
    if cell.takes_node:
        return 60
    return 10 if expected(cell) == "in place" else 30


def main() -> int:
    """Prints the table; the exit code is 1 if a run did not end as it must, or went on too late."""
    (options,) = parse_flags("benchmarks.chaos", __doc__, BenchmarkOptions)
    print("| strategy | role | blow | outcome | s to the next step, of those allowed | steps made again |")
    print("| --- | --- | --- | --- | --- | --- |")
    all_well = True
    for cell in (Cell(strategy, role, blow) for strategy in STRATEGIES for role in ROLES for blow in BLOWS):
        if options.only is None or options.only in str(cell):
            for _ in range(options.rounds):
                row, well = _row(cell)
                all_well = all_well and well
                print(row, flush=True)
    return 0 if all_well else 1


if __name__ == "__main__":
    run_command(main)
