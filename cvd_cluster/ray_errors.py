"""What Ray raises -> the harness's own errors, with the cause first."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from estimators.errors import HarnessError, InfrastructureError, one_line


@contextlib.contextmanager
def told_plainly(work: str, *, smaller: str) -> Iterator[None]:
    """Turns Ray's errors into the harness's: the one that a worker raised, or an InfrastructureError.

    Args:
      work: what Ray was to do, e.g. "predicting".
      smaller: what to change if memory ran out.
    """
    import ray

    try:
        yield
    except Exception as error:
        # Those of Ray Data are none of Ray's.
        if not isinstance(error, ray.exceptions.RayError) and type(error).__module__ != "ray.data.exceptions":
            raise
        causes = list(_causes(error))
        own = next(filter(_is_own, causes), None)
        if own:
            raise own from None
        # Ray puts exceptions without a word at the end.
        cause = ([cause for cause in causes if str(cause)] or causes)[-1]
        raise InfrastructureError(
            f"Ray gave up {work}",
            found=f"{type(cause).__name__}: {one_line(cause)}",
            change=f"run the command again; if a process was killed for lack of memory, with {smaller}",
        ) from None


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """The error, what caused it, what caused that, …"""
    while error is not None:
        yield error
        cause = getattr(error, "cause", None)  # where Ray keeps what a worker raised
        error = cause if isinstance(cause, BaseException) else error.__cause__


def _is_own(error: BaseException) -> bool:
    # Ray's wrapper around an error of ours is an instance of both classes, but says only what Ray says.
    return isinstance(error, HarnessError) and not hasattr(error, "cause")
