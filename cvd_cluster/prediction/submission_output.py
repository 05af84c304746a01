"""Where the rows of a submission go: a CSV, JSON lines, Parquet, or a folder of JSON lines as the cloud wrote them."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Iterator
from typing import Any

from cvd_cluster.prediction.prediction_options import PredictionOptions
from estimators import storage
from estimators.records.tfrecord_framing import shard_name

_RESULTS = "prediction.results"
_REPLACED = "replaced"
_RESULTS_FILE = re.compile(rf"{re.escape(_RESULTS)}-\d{{5}}-of-\d{{5}}")

# Takes the index of an input file and a table (prediction_columns.SCHEMA) of its next predictions.
WriteRows = Callable[[int, Any], None]


def results_prefix(folder: str) -> str:
    """How the paths of all results in a folder begin."""
    return os.path.join(folder, _RESULTS)


def submission_output(
    options: PredictionOptions, files: int, *, ready: storage.Ready, done: storage.Ready
) -> contextlib.AbstractContextManager[WriteRows]:
    """The output that was asked for; it appears whole at the end.

    Args:
      options: name and form.
      files: the number of input files.
      ready: called when all is written, before it appears.
      done: called when it has appeared, if more is to be done then.
    """
    if options.output_path:
        return json_output(options.output_path, files, ready=ready, done=done)
    path = options.output_file or ""
    if path.endswith(".parquet"):
        return parquet_output(path, ready=ready)
    if path.endswith(".jsonl"):
        return jsonl_output(path, ready=ready)
    return csv_output(path, options.output_format, options.top_k, ready=ready)


@contextlib.contextmanager
def csv_output(
    path: str, output_format: str, top_k: int, *, ready: storage.Ready = storage.nothing_more
) -> Iterator[WriteRows]:
    """Writes one CSV."""
    from estimators.submission.prediction_columns import CsvForm

    form = CsvForm(output_format, top_k)
    with storage.written_whole(path, ready=ready) as file:
        written = 0

        def write(shard: int, table: Any) -> None:
            nonlocal written
            written += file.write(form.lines(table))

        yield write
        if not written:
            file.write(form.empty())


@contextlib.contextmanager
def jsonl_output(path: str, *, ready: storage.Ready = storage.nothing_more) -> Iterator[WriteRows]:
    """Writes one file of JSON lines."""
    from estimators.submission.prediction_columns import json_lines

    with storage.written_whole(path, ready=ready) as file:

        def write(shard: int, table: Any) -> None:
            file.write(json_lines(table))

        yield write


@contextlib.contextmanager
def parquet_output(path: str, *, ready: storage.Ready = storage.nothing_more) -> Iterator[WriteRows]:
    """Writes one Parquet file with the columns image_id, class_indexes, predictions."""
    import pyarrow.parquet as pq

    from estimators.submission.prediction_columns import SCHEMA

    with storage.written_whole(path, ready=ready) as file, pq.ParquetWriter(file, SCHEMA) as writer:

        def write(shard: int, table: Any) -> None:
            writer.write_table(table.cast(SCHEMA))

        yield write


@contextlib.contextmanager
def json_output(
    folder: str, shards: int, *, ready: storage.Ready = storage.nothing_more, done: storage.Ready = storage.nothing_more
) -> Iterator[WriteRows]:
    """Writes `prediction.results-00000-of-000NN`, one for each input file, which appear together at the end.

    They are written into a hidden folder inside `folder`; files of that kind that lie there already are replaced when
    all new ones are complete, other files are left alone, and if moving them fails the older ones are put back.

    Args:
      folder: is made if it is missing.
      shards: the number of input files.
      ready: called when all of them are complete, before they are moved.
      done: called when they are moved, before the older ones are deleted.
    """
    from estimators.submission.prediction_columns import json_lines

    hidden = storage.hidden_partial(results_prefix(folder))
    names = [shard_name(_RESULTS, index, shards) for index in range(shards)]
    with contextlib.ExitStack() as stack:
        stack.enter_context(_deleted_in_the_end(hidden))
        storage.make_dirs(hidden)
        with contextlib.ExitStack() as current:
            written = 0

            def open_next() -> Any:
                nonlocal written
                current.close()
                written += 1
                return current.enter_context(storage.written_whole(os.path.join(hidden, names[written - 1])))

            file: Any = open_next()

            def write(shard: int, table: Any) -> None:
                nonlocal file
                while written <= shard:
                    file = open_next()
                file.write(json_lines(table))

            yield write
            while written < shards:
                open_next()
        ready()
        _replace(folder, hidden, names)
        done()


@contextlib.contextmanager
def _deleted_in_the_end(hidden: str) -> Iterator[None]:
    try:
        yield
    except BaseException:
        if not _results_in(os.path.join(hidden, _REPLACED)):  # else the next run puts the older ones back
            storage.delete(hidden)
        raise
    with contextlib.suppress(OSError):  # the new ones are there; the next run deletes it
        storage.delete(hidden)


def restore_replaced(folder: str) -> None:
    """Puts older results back that a run which was killed had moved away, if the new ones had not all come."""
    for name in filter(storage.is_hidden_partial, storage.list_dir(folder)):
        hidden = os.path.join(folder, name)
        replaced, waiting = (_results_in(path) for path in (os.path.join(hidden, _REPLACED), hidden))
        if not (replaced and waiting):
            continue
        # What has come already is of the new set, which the names tell, and waits no more. It waits again, rather than
        # that it is deleted, so that who is killed here and begins anew does not take an older one for it.
        new_set = waiting[0].rpartition("-")[2]
        for one in _results_in(folder):
            if one.endswith(f"-{new_set}") and one not in waiting:
                storage.rename(os.path.join(folder, one), os.path.join(hidden, one))
        for one in replaced:
            storage.rename(os.path.join(hidden, _REPLACED, one), os.path.join(folder, one))


def _results_in(folder: str) -> list[str]:
    return [name for name in storage.list_dir(folder) if _RESULTS_FILE.fullmatch(name)]


def _replace(folder: str, hidden: str, names: list[str]) -> None:
    """Moves results from a hidden folder into the place of older ones.

    All older ones go first. Who looks meanwhile, or after this process was killed here, finds results that are not
    complete, which the converter refuses, and never those of two models beside each other.
    """
    replaced = os.path.join(hidden, _REPLACED)
    storage.make_dirs(replaced)
    with contextlib.ExitStack() as undo:
        for name in _results_in(folder):
            _move(name, folder, replaced, undo)
        for name in names:
            _move(name, hidden, folder, undo)
        undo.pop_all()


def _move(name: str, source: str, target: str, undo: contextlib.ExitStack) -> None:
    here, there = os.path.join(source, name), os.path.join(target, name)
    undo.callback(_move_back, there, here)  # before it is moved: a signal may come between the two
    storage.rename(here, there)


def _move_back(there: str, here: str) -> None:
    if storage.exists(there):
        storage.rename(there, here)
