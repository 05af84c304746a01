from __future__ import annotations

import pytest

from cvd_cluster.roles.role_assignment import RoleAssignment
from estimators.errors import UserError
from estimators.experiment_options import ExperimentOptions
from estimators.inputs.data_check import DataFiles
from estimators.training_plan import TrainingPlan


@pytest.fixture
def assignment() -> RoleAssignment:
    options = ExperimentOptions(train_dir="/t ü", train_data_pattern="/d/*", seed=3, eval_data_pattern="/e\n/*")
    plan = TrainingPlan("parameter_server", 3, 1, DataFiles(("/d/a", "/d/b"), (1, 2)), DataFiles(("/e",), (4,)), 8, 5)
    return RoleAssignment(options, plan, "worker", 2, "/tmp/scratch", generation=4, gpus=1)


def test_an_assignment_travels_as_one_line(assignment: RoleAssignment) -> None:
    line = assignment.to_line()
    assert "\n" not in line and RoleAssignment.from_line(line + "\n") == assignment


def test_options_of_another_version_are_refused_by_name(assignment: RoleAssignment) -> None:
    line = assignment.to_line().replace('"batch_size"', '"batch_sizes"')
    with pytest.raises(UserError, match="batch_sizes"):
        RoleAssignment.from_line(line)
