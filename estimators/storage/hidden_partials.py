"""The names of what is being written: hidden neighbours of what it will be, which a killed process may leave."""

from __future__ import annotations

import fnmatch
import glob
import os
import uuid


def hidden_partial(path: str) -> str:
    """A path beside `path`, of a name nobody else has, for what is renamed onto `path` when it is complete."""
    folder, name = os.path.split(path)
    return os.path.join(folder, f".{name}.{uuid.uuid4().hex[:8]}.partial")


def is_hidden_partial(name: str, *, of: str | None = None) -> bool:
    """True if `hidden_partial` made this name (without its folder); `of` is the name it is to get, None any."""
    return fnmatch.fnmatch(name, ".*.partial" if of is None else f".{glob.escape(of)}.????????.partial")
