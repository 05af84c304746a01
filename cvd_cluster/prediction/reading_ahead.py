"""What is read first is fetched from the disk while Ray starts and the predictors load TensorFlow."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator, Sequence

from cvd_cluster.prediction.input_files import InputFile
from cvd_cluster.prediction.reading_plan import ReadingTask
from estimators import storage

# What two processors decode in a quarter of a minute: about what a slow disk gives before the readers catch up.
_MOST_BYTES = 512 << 20


def read_ahead(files: Sequence[InputFile], tasks: Sequence[ReadingTask]) -> None:
    """Asks the kernel to bring the first files' bytes into memory, and does not wait for it.

    Files in a bucket are left out, and a file that cannot be opened is for its reader to tell of.

    Args:
      files: the input files.
      tasks: what is going to be read of them, in this order.
    """
    threading.Thread(target=_ask, args=(list(_ranges(files, tasks)),), name="read_ahead", daemon=True).start()


def _ranges(files: Sequence[InputFile], tasks: Sequence[ReadingTask]) -> Iterator[tuple[str, int, int]]:
    """Path, first byte and length, up to the limit in all."""
    left = _MOST_BYTES
    for task in tasks:
        file = files[task.file]
        begin, end = (0, file.size) if task.packed else (task.pieces[0].begin, task.pieces[-1].end)
        length = min(end - begin, left)
        if length <= 0:
            return
        if not storage.is_remote(file.path):
            left -= length
            yield file.path, begin, length


def _ask(ranges: Sequence[tuple[str, int, int]]) -> None:
    for path, begin, length in ranges:
        with contextlib.suppress(OSError):
            opened = os.open(path, os.O_RDONLY)
            try:
                os.posix_fadvise(opened, begin, length, os.POSIX_FADV_WILLNEED)
            finally:
                os.close(opened)
