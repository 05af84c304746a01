"""TensorBoard beside a run, for as long as the run lasts: a process of its own, which this module is too.

with tensorboard_of("/tmp/run", 6006, announce=print):
    ...
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys
from collections.abc import Callable, Iterator

from estimators.child_process import ChildProcess, die_with_parent
from estimators.errors import UserError

_HOST = "127.0.0.1"  # TensorBoard knows no passwords


@contextlib.contextmanager
def tensorboard_of(train_dir: str, port: int | None, *, announce: Callable[[str], None] = print) -> Iterator[None]:
    """Shows the curves of training and evaluation on http://127.0.0.1:port; for port None does nothing.

    Raises:
      UserError: something else listens there.
    """
    if port is None:
        yield
        return
    _check_free(port)
    with open(os.devnull, "wb") as nowhere:
        process = ChildProcess(
            [sys.executable, "-m", "estimators.tensorboard_server", train_dir, str(port)],
            # It is not to take a GPU's memory from those that train.
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "CUDA_VISIBLE_DEVICES": "-1"},
            output=nowhere,
        )
    try:
        announce(f"TensorBoard: http://{_HOST}:{port} on {socket.gethostname()}, to that machine only")
        yield
    finally:
        process.kill()


def _check_free(port: int) -> None:
    try:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((_HOST, port))
    except (OSError, OverflowError) as error:
        raise UserError(
            "TensorBoard cannot have this port",
            asked=f"--tensorboard_port={port}",
            found=getattr(error, "strerror", None) or str(error),
            change="--tensorboard_port to one from 1024 to 65535 that nobody uses",
        ) from None


def _main(train_dir: str, port: str) -> None:
    die_with_parent()
    # Late: only this process needs it.
    from tensorboard import main

    sys.argv = ["tensorboard", f"--logdir={train_dir}", f"--host={_HOST}", f"--port={port}"]
    main.run_main()


if __name__ == "__main__":
    _main(*sys.argv[1:])
