"""All that one TensorFlow process needs: models, losses, input, training, evaluation, export. Never imports ray."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from estimators.losses import BaseLoss
    from estimators.models import BaseModel

__all__ = ["BaseLoss", "BaseModel"]


def __getattr__(name: str) -> object:
    # Lazily (PEP 562): losses.py imports TensorFlow, which a command that only prints its help must not wait for.
    if name == "BaseModel":
        from estimators.models import BaseModel

        return BaseModel
    if name == "BaseLoss":
        from estimators.losses import BaseLoss

        return BaseLoss
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
