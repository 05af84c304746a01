"""Errors in code of the user's own, told with the user's lines of the traceback and none of ours."""

from __future__ import annotations

import contextlib
import traceback
from collections.abc import Iterator
from pathlib import Path

from estimators.errors import HarnessError, UserError

_OURS = tuple(f"{Path(__file__).parents[2] / package}/" for package in ("estimators", "cvd_cluster", "launch"))
_MOST_LINES = 30


@contextlib.contextmanager
def user_errors_told(summary: str, *, asked: str) -> Iterator[None]:
    """Around a call of the user's code.

    Args:
      summary: what does not work, for the message.
      asked: the flags that name the code.

    Raises:
      UserError: it raised something; errors of the harness pass as they are.
    """
    try:
        yield
    except HarnessError:
        raise
    except Exception as error:
        raise UserError(
            f"{summary}: {type(error).__name__}",
            asked=asked,
            found=own_lines(error),
            change="the code that the traceback names",
        ) from error


def own_lines(error: BaseException) -> str:
    """The traceback of an error from the first line of code that is not the harness's, nor of Python's import."""
    frames = traceback.extract_tb(error.__traceback__)
    theirs = next((i for i, frame in enumerate(frames) if not _is_ours(frame.filename)), max(0, len(frames) - 3))
    if isinstance(error, SyntaxError):
        theirs = len(frames)  # the error says itself where it is; the frames are those of the import
    lines = "".join([*traceback.format_list(frames[theirs:]), *traceback.format_exception_only(error)]).splitlines()
    return "\n".join(lines[-_MOST_LINES:])


def _is_ours(path: str) -> bool:
    return path.startswith((*_OURS, "<frozen ")) or "/importlib/" in path or "/contextlib" in path
