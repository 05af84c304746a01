"""What Ray raises -> the harness's own errors, with the cause first."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from estimators.errors import HarnessError, InfrastructureError

_MOST_SHOWN = 500


@contextlib.contextmanager
def told_plainly(gave_up: Callable[[BaseException], InfrastructureError] | None = None) -> Iterator[None]:
    """Turns Ray's errors into the harness's: the one that a worker raised, or an InfrastructureError.

    Args:
      gave_up: makes the latter from the innermost cause; None makes the one of a prediction.
    """
    import ray

    try:
        yield
    except ray.exceptions.RayError as error:
        causes = list(_causes(error))
        own = next(filter(_is_own, causes), None)
        # Ray puts exceptions without a word at the end.
        raise own or (gave_up or _gave_up)([cause for cause in causes if str(cause)][-1]) from None


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
    import ray

    died = isinstance(error, ray.exceptions.RayActorError)
    return InfrastructureError(
        "A predictor's process died" if died else "Ray gave up predicting",
        found=f"{type(error).__name__}: {' '.join(str(error).split())[:_MOST_SHOWN]}",
        change="run the command again; if a process was killed for lack of memory, with a smaller --batch_size or "
        "--max_worker_count",
    )
