"""A supervisor over a scripted group, for tests."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from cvd_cluster.roles.role_status import ActorLoss, RolePhase
from cvd_cluster.supervision.supervisor import Supervisor
from cvd_cluster.supervision_options import SupervisionOptions
from cvd_cluster.topology import Task
from estimators.experiment_options import ExperimentOptions
from estimators.inputs.data_check import DataFiles
from estimators.processes.stop_signals import StopSignals
from estimators.train_dir.run_state import RunState, read_run_state, write_run_state
from estimators.training_plan import Strategy, TrainingPlan
from tests.cvd_cluster.fakes import FakeGroup, failure, status
from tests.estimators.made_checkpoints import write_checkpoint

CHIEF, WORKER, PS = Task("chief", 0, 1.0, 0), Task("worker", 0, 1.0, 0), Task("ps", 0, 1.0, 0)
EVALUATOR = Task("evaluator", 0, 1.0, 0)
TASKS = [CHIEF, WORKER, PS, EVALUATOR]
STARTING, FAILED, LOST, DONE = RolePhase.STARTING, RolePhase.FAILED, RolePhase.LOST, RolePhase.DONE
FINISHED = status(CHIEF, training_finished=True)
ALL_DONE = {CHIEF: status(CHIEF, DONE, training_finished=True), WORKER: status(WORKER, DONE)}
ECHO = failure("UnavailableError", is_echo=True)


class Run:
    """A supervisor over a scripted group, with what it announced."""

    def __init__(
        self,
        folder: Path,
        script: Iterable[Any],
        tasks: list[Task] | None = None,
        *,
        strategy: Strategy = "parameter_server",
        saved: int | None = 5,
        **supervision: Any,
    ) -> None:
        self.train_dir = str(folder)
        options = ExperimentOptions(train_dir=self.train_dir, train_data_pattern="/d/*", eval_data_pattern="/e/*")
        data = DataFiles(("/d/a",), (8,))
        plan = TrainingPlan(strategy, 2, 1, data, data, 4, 5)
        write_run_state(self.train_dir, RunState.RUNNING, 5)
        if saved is not None:
            write_checkpoint(folder, saved)
        self.lines: list[str] = []
        self.group = FakeGroup(tasks or TASKS, script)
        self.signals = StopSignals()
        self._supervisor = Supervisor(
            self.group,  # type: ignore[arg-type]
            self.group,  # type: ignore[arg-type]
            options,
            plan,
            SupervisionOptions(**supervision),
            look_at_nodes=self.group.look_at_nodes,
            started=40.0,
            signals=self.signals,
            announce=self._take_line,
            sleep=self.group.sleep,
            clock=self.group.clock,
        )

    def _take_line(self, line: str) -> None:
        if not line.startswith("[supervisor] "):
            self.lines.append(line)

    def events(self, *kinds: str) -> list[tuple[str, str | None]]:
        """(event, name of the role or None), of these kinds."""
        rows = [json.loads(line) for line in (Path(self.train_dir) / "events.jsonl").read_text().splitlines()]
        named = [(row["event"], f"{row['role']}-{row['index']}" if row["role"] else None) for row in rows]
        return [row for row in named if row[0] in kinds]

    def causes(self, kind: str) -> list[tuple[str | None, str]]:
        """(name of the role or None, cause) of the events of a kind."""
        rows = [json.loads(line) for line in (Path(self.train_dir) / "events.jsonl").read_text().splitlines()]
        return [
            (f"{row['role']}-{row['index']}" if row["role"] else None, row["cause"])
            for row in rows
            if row["event"] == kind
        ]

    def __call__(self) -> Run:
        self._supervisor.run()
        return self

    @property
    def state(self) -> RunState:
        record = read_run_state(self.train_dir)
        assert record is not None and record.max_steps == 5
        return record.state


def evaluated(folder: Path, *steps: int) -> None:
    (folder / "eval").mkdir(exist_ok=True)
    (folder / "eval" / "metrics.jsonl").write_text("".join(json.dumps({"global_step": step}) + "\n" for step in steps))


GONE = ActorLoss("its node is gone", False, gone_at=0.0)
