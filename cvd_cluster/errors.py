"""The errors of a distributed run; they extend the tree in estimators/errors.py.

UserError                       2
└── RoleError                   2  a role ended with a Python error: of the model, the loss, or what they call
InfrastructureError             3
└── RoleLostError               3  a role's process was killed, or its node is gone
"""

from __future__ import annotations

from estimators.errors import InfrastructureError, UserError


class RoleError(UserError):
    """A role ended with a Python error; the traceback of the first one is in `found`."""


class RoleLostError(InfrastructureError):
    """A role's process ended without a Python error: a signal, out of memory, a node that is gone."""
