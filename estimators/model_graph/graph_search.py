"""What an operation of a TensorFlow graph is computed from."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any


def ancestors(op: Any) -> Iterator[Any]:
    """The operation itself and all that must run before it."""
    seen, todo = {op.name}, [op]
    while todo:
        current = todo.pop()
        yield current
        for before in [tensor.op for tensor in current.inputs] + list(current.control_inputs):
            if before.name not in seen:
                seen.add(before.name)
                todo.append(before)


def depends_on(op: Any, names: Collection[str]) -> bool:
    """True if one of these operations must run before it, or it is one of them."""
    return any(before.name in names for before in ancestors(op))
