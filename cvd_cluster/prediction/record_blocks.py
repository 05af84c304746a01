"""Reads the input files with Ray Data: references to blocks of pieces, read on as they are taken."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Generator, Iterator, Sequence
from typing import Any

import ray.data
from ray.data import DataContext, ExecutionResources

from cvd_cluster.prediction.input_files import PIECE_BYTES, InputFile
from cvd_cluster.prediction.lean_ray_data import RestAfterEachStep, without_helper_actors
from cvd_cluster.prediction.reading_plan import ReadingTask
from cvd_cluster.prediction.record_source import RecordSource


def record_blocks(
    files: Sequence[InputFile],
    tasks: Sequence[ReadingTask],
    *,
    num_readers: int,
    reader_cpus: float,
    own_ray: bool,
) -> Generator[Any, None, None]:
    """Yields a reference to each block (a table of piece_columns.SCHEMA), in any order. Ray must be connected.

    Close the generator while Ray still is: what it holds asks Ray for its end.

    Args:
      files: the input files.
      tasks: what is to be read of them.
      num_readers: tasks at the same time, at the most.
      reader_cpus: how many of Ray's CPUs each of these holds.
      own_ray: True if Ray runs on this machine for this run alone.

    Raises:
      ray.exceptions.RayError: reading failed; the `cause` says why.
    """
    if not tasks:
        return
    readers = min(num_readers, len(tasks))
    lean = without_helper_actors() if own_ray else contextlib.nullcontext()
    with lean, _quiet_ray_data(readers * reader_cpus):
        dataset = ray.data.read_datasource(
            RecordSource(files, tasks),
            num_cpus=reader_cpus,
            concurrency=readers,
            override_num_blocks=len(tasks),  # with more than there are tasks, Ray Data would split what they read
        )
        # As iter_internal_ref_bundles does it; but unless Ray Data is told that there is a consumer who may be slow, it
        # reads a packed file, which is one task, to its end, and its store overflows onto the disk.
        bundles, _, executor = dataset._execute_to_iterator(capture_executor=False)
        executor.set_external_consumer_bytes(0)
        try:
            for bundle in bundles:
                yield from bundle.block_refs
                RestAfterEachStep.wished.set()
        finally:
            del bundles, executor  # Ray Data stops reading when nobody can ask for more


@contextlib.contextmanager
def _quiet_ray_data(cpus: float) -> Iterator[None]:
    """Ray Data with blocks of our size, a limit on its CPUs, and nothing of its own on the console."""
    context = DataContext.get_current().copy()
    context.target_max_block_size = PIECE_BYTES
    context.enable_progress_bars = False
    context.execution_no_progress_timeout_s = -1  # a predictor may be waited for longer, and is told of by its pool
    context.custom_execution_callback_classes = [*context.custom_execution_callback_classes, RestAfterEachStep]
    context.execution_options.resource_limits = ExecutionResources.for_limits(cpu=cpus)
    logger = logging.getLogger("ray.data")
    handlers, level = list(logger.handlers), logger.level
    logger.handlers = [handler for handler in handlers if handler.get_name() != "console"]
    logger.setLevel(logging.WARNING)  # else it writes its state into a file again and again
    try:
        with DataContext.current(context):
            yield
    finally:
        logger.handlers = handlers
        logger.setLevel(level)
