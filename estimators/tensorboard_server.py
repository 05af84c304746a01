"""TensorBoard beside a run, for as long as the run lasts: a process of its own, which this module is too.

with tensorboard_of("/tmp/run", 6006, announce=print):
    ...
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from typing import IO

from estimators.errors import UserError
from estimators.processes.child_process import ChildProcess, child_environment, die_with_parent

_HOST = "127.0.0.1"  # TensorBoard knows no passwords
_MOST_READ, _MOST_SHOWN = 8192, 300


@contextlib.contextmanager
def tensorboard_of(train_dir: str, port: int | None, *, announce: Callable[[str], None] = print) -> Iterator[None]:
    """Shows the curves of training and evaluation on http://127.0.0.1:port; for port None does nothing.

    If it ends by itself that is told, with what it said last, and what goes on in the block goes on.

    Raises:
      UserError: something else listens there.
    """
    if port is None:
        yield
        return
    _check_free(port)
    wanted = threading.Event()
    wanted.set()
    with tempfile.TemporaryFile() as said:
        process = ChildProcess(
            [sys.executable, "-m", "estimators.tensorboard_server", train_dir, str(port)],
            # It is not to take a GPU's memory from those that train.
            env=child_environment(gpus=False),
            output=said,
        )

        def tell_its_end() -> None:
            code = process.wait()
            if wanted.is_set():
                announce(f"TensorBoard ended (exit code {code}), the run goes on without it{_last_words(said)}")

        watch = threading.Thread(target=tell_its_end, daemon=True)
        watch.start()
        try:
            announce(f"TensorBoard: http://{_HOST}:{port} on {socket.gethostname()}, to that machine only")
            yield
        finally:
            wanted.clear()
            process.kill()
            watch.join()


def _last_words(said: IO[bytes]) -> str:
    said.seek(max(0, said.seek(0, os.SEEK_END) - _MOST_READ))
    lines = [line for line in said.read().decode("utf-8", "replace").splitlines() if line.strip()]
    return f": {lines[-1].strip()[:_MOST_SHOWN]}" if lines else ""


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
