from __future__ import annotations

import pickle

import pytest

from cvd_cluster.errors import RoleError, RoleLostError
from estimators.errors import InfrastructureError, UserError


@pytest.mark.parametrize(
    ("cls", "parent", "code"), [(RoleError, UserError, 2), (RoleLostError, InfrastructureError, 3)]
)
def test_an_error_survives_pickling_and_belongs_to_the_tree(cls, parent, code) -> None:
    error = pickle.loads(pickle.dumps(cls("summary", asked="a", found="f", change="c")))
    assert type(error) is cls and isinstance(error, parent) and error.exit_code == code
    assert str(error) == "summary\n  asked:  a\n  found:  f\n  change: c"
