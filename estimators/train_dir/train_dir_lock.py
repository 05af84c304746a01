"""One run at a time in a train_dir: `run_lock.json` names the process that has it, and shows that it lives.

No lock of the operating system is used, since a bucket has none. The file is made by one process alone, and on one
machine the process it names is looked up; from another machine a run is known by its sign of life, every few seconds.
Where several take over the same dead run's lock in one moment, the last to write it has it, and the others find that
out; in a bucket the first has it, since it is replaced there only if nobody else has written it.

Evaluation and prediction beside a run take no lock.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import signal
import threading
import time
import uuid
from collections.abc import Callable, Iterator

from estimators import storage
from estimators.errors import HarnessError, InfrastructureError, one_line
from estimators.processes.process_identity import this_process
from estimators.train_dir.train_dir_holder import LOCK_FILE, SILENT_SECS, Holder, read_holder, refused, shows_life

_BEAT_SECS = 5.0
# As long as two that take over the same lock can be apart, on a file system.
_SETTLE_SECS = 0.5
# So many signs of life in a row cannot be written to a local disk before the folder is taken for lost.
_FAILED_BEATS = 3


# Folders that this process had and lost.
_lost_here: set[str] = set()


def was_lost(train_dir: str) -> bool:
    """True if this process had `train_dir` and another run has it now, or nobody can reach it."""
    return train_dir in _lost_here


@contextlib.contextmanager
def locked(
    train_dir: str,
    *,
    announce: Callable[[str], None] = print,
    beat_secs: float = _BEAT_SECS,
    silent_secs: float = SILENT_SECS,
) -> Iterator[None]:
    """Has `train_dir` for as long as the block runs; the folder is made if it is missing.

    A block in the main thread is interrupted when the folder is lost meanwhile.

    Args:
      train_dir: the folder.
      announce: called with a line if a run that died is replaced.
      beat_secs: between two signs of life.
      silent_secs: how long to wait for a sign of life of a run elsewhere.

    Raises:
      UserError: another run has it.
      InfrastructureError: it cannot be written, vanished, became read-only, or another run took it, since this one
        stood still too long.
    """
    lock = _Lock(train_dir, beat_secs)
    _lost_here.discard(train_dir)
    try:
        storage.make_dirs(train_dir)
        lock.take(announce, silent_secs)
    except OSError as error:
        raise _unusable(train_dir, error) from error
    try:
        yield
    except BaseException as error:
        lock.release()
        if lock.lost is not None:
            raise lock.lost from error
        raise
    lock.release()
    if lock.lost is not None:
        raise lock.lost


class _Lock:
    def __init__(self, train_dir: str, beat_secs: float) -> None:
        self._train_dir, self._beat_secs = train_dir, beat_secs
        self._path = os.path.join(train_dir, LOCK_FILE)
        now = time.time()
        self._holder = Holder(this_process(), now, uuid.uuid4().hex, now)
        self._interrupts = threading.current_thread() is threading.main_thread()
        self._signal = signal.SIGINT
        if self._interrupts and signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
            # So it is in the background of a script, or under `nohup`.
            self._signal = signal.SIGUSR1
            signal.signal(self._signal, signal.default_int_handler)
        self._identity = ""  # of the lock in a bucket, as this process wrote it last
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._beat_on, name="train_dir_lock", daemon=True)
        self.lost: HarnessError | None = None

    def take(self, announce: Callable[[str], None], silent_secs: float) -> None:
        if not storage.create_text(self._path, self._text()):
            other = read_holder(self._train_dir)
            if other is not None:
                if shows_life(self._train_dir, other, announce, silent_secs):
                    raise refused(self._train_dir, other)
                announce(f"the run that had --train_dir ({other}) is gone; this one takes its place")
            self._take_from(other)
        if storage.is_remote(self._path):
            self._identity = storage.identity(self._path)
        self._thread.start()

    def _take_from(self, other: Holder | None) -> None:
        if storage.is_remote(self._path):
            with contextlib.suppress(FileNotFoundError):
                identity = storage.identity(self._path)
                if read_holder(self._train_dir) == other:
                    storage.replace_text(self._path, self._text(), known=identity)
            storage.create_text(self._path, self._text())  # if it was given back meanwhile
        else:
            self._write()
            time.sleep(_SETTLE_SECS)
        winner = read_holder(self._train_dir)
        if winner is not None and winner.token != self._holder.token:
            raise refused(self._train_dir, winner)

    def _text(self) -> str:
        return json.dumps(dataclasses.asdict(dataclasses.replace(self._holder, beat=time.time()))) + "\n"

    def _write(self) -> None:
        storage.write_text(self._path, self._text())

    def release(self) -> None:
        self._ended.set()
        self._thread.join(timeout=self._beat_secs)
        with contextlib.suppress(Exception):  # a folder that is gone needs no release
            holder = read_holder(self._train_dir)
            if holder is not None and holder.token == self._holder.token:
                storage.delete(self._path)

    def _beat_on(self) -> None:
        failed = 0
        while not self._ended.wait(self._beat_secs) and self.lost is None:
            try:
                self._beat()
                failed = 0
            except Exception as error:
                # A bucket that does not answer comes back; whether another has it then shows in its lock.
                failed += not storage.is_remote(self._path)
                if failed == _FAILED_BEATS:
                    self._lose(_unusable(self._train_dir, error))

    def _beat(self) -> None:
        holder = read_holder(self._train_dir)
        if holder is not None and holder.token != self._holder.token:
            self._lose(_taken(self._train_dir, holder))
        elif storage.is_remote(self._path):
            self._show_life_in_a_bucket(holder)
        elif holder is None:
            self._write()
        else:
            os.utime(self._path)  # needs no room on a full disk

    def _show_life_in_a_bucket(self, holder: Holder | None) -> None:
        """Replaces what this process wrote, never what another has written since it was looked at."""
        if holder is None:
            storage.create_text(self._path, self._text())
        now = storage.replace_text(self._path, self._text(), known=self._identity)
        self._identity = now or storage.identity(self._path)

    def _lose(self, error: HarnessError) -> None:
        if not self._ended.is_set():
            self.lost = error
            _lost_here.add(self._train_dir)
            if self._interrupts:
                # As Ctrl-C does; `_thread.interrupt_main` would leave it asleep in a system call.
                signal.pthread_kill(threading.main_thread().ident or 0, self._signal)


def _taken(train_dir: str, holder: Holder) -> InfrastructureError:
    return InfrastructureError(
        "Another run took over --train_dir, since this one gave no sign of life",
        asked=f"--train_dir={train_dir}",
        found=f"{holder}",
        change="nothing, if that run is wanted: it continues from the newest checkpoint",
    )


def _unusable(train_dir: str, error: Exception) -> InfrastructureError:
    there = storage.is_dir(train_dir)
    return InfrastructureError(
        "--train_dir cannot be written" if there else "--train_dir is gone",
        asked=f"--train_dir={train_dir}",
        found=one_line(error),
        change="look for a full disk or a lost mount, and give the same command again: it continues from the "
        "newest checkpoint",
    )
