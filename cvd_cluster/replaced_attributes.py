"""Stand-ins for parts of a library that has no setting for them, for as long as a block runs."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from typing import Any


@contextlib.contextmanager
def replaced_attributes(replacements: Iterable[tuple[Any, str, Any]]) -> Iterator[None]:
    """Puts other objects in the place of some attributes, and puts the old ones back at the end.

    Args:
      replacements: (owner, name, object). A name that its owner does not have, as another version of the library may
        not, is left alone; so only what is dispensable may be replaced.
    """
    with contextlib.ExitStack() as undo:
        for owner, name, replacement in replacements:
            if hasattr(owner, name):
                # As it is stored, since a static method is not what `getattr` returns.
                undo.callback(setattr, owner, name, vars(owner)[name])
                setattr(owner, name, replacement)
        yield
