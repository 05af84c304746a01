"""What a role's TensorFlow process is told on its stdin, as two JSON lines: its part first, TF_CONFIG later.

The process imports TensorFlow before the second line comes, while the other roles still lease their ports.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass

from estimators.experiment_options import ExperimentOptions
from estimators.training_plan import Role, TrainingPlan


@dataclass(frozen=True)
class RoleAssignment:
    """The part of one role.

    Attributes:
      options: of the run.
      plan: what all tasks share.
      role: "chief", "worker", "ps" or "evaluator".
      worker_index: its number among the training replicas; -1 for the others.
      scratch_dir: a folder of this role alone.
      generation: of the run; see estimators/train_dir/generation.py.
      gpus: that Ray has set aside for it; without any it sees none.
    """

    options: ExperimentOptions
    plan: TrainingPlan
    role: Role
    worker_index: int
    scratch_dir: str
    generation: int
    gpus: int

    def to_line(self) -> str:
        """One line of JSON."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return json.dumps({**values, "options": self.options.to_json(), "plan": self.plan.to_json()})

    @classmethod
    def from_line(cls, line: str) -> RoleAssignment:
        """The assignment that `to_line` gave."""
        values = json.loads(line)
        options = ExperimentOptions.from_json(values["options"], source="the role's assignment")
        return cls(**{**values, "options": options, "plan": TrainingPlan.from_json(values["plan"])})
