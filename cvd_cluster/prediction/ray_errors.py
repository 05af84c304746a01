"""What Ray raises -> the harness's own errors, with the cause first."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from estimators.errors import HarnessError, InfrastructureError

_MOST_SHOWN = 500


@contextlib.contextmanager
def told_plainly() -> Iterator[None]:
    """Turns Ray's errors into the harness's: the one that a worker raised, or an InfrastructureError."""
    import ray

    try:
        yield
    except ray.exceptions.RayError as error:
        own = next((cause for cause in _causes(error) if _is_own(cause)), None)
        raise own or _gave_up(list(_causes(error))[-1]) from None


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """The error, what caused it, what caused that, …"""
    while error is not None:
        yield error
        cause = getattr(error, "cause", None)  # where Ray keeps what a worker raised
        error = cause if isinstance(cause, BaseException) else error.__cause__


def _is_own(error: BaseException) -> bool:
    # Ray's wrapper around an error of ours is an instance of both classes, but says only what Ray says.
    return isinstance(error, HarnessError) and not hasattr(error, "cause")


def _gave_up(error: BaseException) -> InfrastructureError:
    return InfrastructureError(
        "Ray gave up predicting",
        found=f"{type(error).__name__}: {' '.join(str(error).split())[:_MOST_SHOWN]}",
        change="run the command again; if a process was killed for lack of memory, with a smaller --batch_size or "
        "--max_worker_count",
    )
