"""Verifies TFRecord files from their first byte to their last, whoever made them, without TensorFlow."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Container, Sequence
from typing import NamedTuple

from estimators import storage
from estimators.conversion.check_options import CheckOptions
from estimators.conversion.file_check import CheckedFile, FileToCheck, check_file
from estimators.conversion.ordered_processes import map_in_order
from estimators.data_set.manifest import NAME, Manifest, data_set_folder, entry_of, read_manifest
from estimators.data_set.matching_files import matching_files
from estimators.data_set.new_folder import check_complete
from estimators.errors import DataError, UserError
from estimators.processes.progress import with_progress
from estimators.storage.access import check_access

_MOST_SHOWN = 20
# Less data than this does not make up for the start of another process.
_BYTES_PER_PROCESS = 64 << 20


def check_data_set(
    options: CheckOptions, *, announce: Callable[[str], None] = print, num_processes: int | None = None
) -> None:
    """Reads all records of all files and says what is wrong: a line for each file, and one for each fault.

    Args:
      options: which files.
      announce: takes a line for the user.
      num_processes: how many processes read; None takes as many as are worth it.

    Raises:
      UserError: no file matches, or a bucket refuses.
      DataError: something is wrong.
    """
    check_access(read={"check": options.check})
    folder = os.path.expanduser(options.check)
    paths = _shards_in(folder) if storage.is_dir(folder) else matching_files(options.check, flag="check")
    manifests = {folder: read_manifest(folder) for folder in sorted({data_set_folder(path) for path in paths})}
    tasks = [_task(path, manifests[data_set_folder(path)], options.num_classes) for path in paths]
    num_processes = num_processes or _suitable_processes(paths)
    verdict = _Verdict(announce)
    with (
        contextlib.closing(map_in_order(check_file, tasks, num_processes, chunk_size=1)) as checked,
        contextlib.closing(with_progress(checked, len(tasks), "files checked")) as files,
    ):
        for file in files:
            verdict.add(file)
    for folder, manifest in manifests.items():
        if manifest:
            verdict.add_missing(folder, manifest, {task.entry.split for task in tasks if task.entry})
    verdict.conclude(options)


def _shards_in(folder: str) -> list[str]:
    """What `folder/*/*` matches. No pattern says so, since a folder's name may hold `[`, `*` or a comma.

    Raises:
      UserError: nothing; DataError: they are of a data set that is not complete.
    """
    names = [name.split("/") for name in storage.names_below(folder)]
    visible = [parts for parts in names if not any(part.startswith(".") for part in parts)]
    # The name of a folder ends with a slash, so its last part is empty.
    paths = [os.path.join(folder, *parts) for parts in visible if len(parts) == 2 and parts[1]]
    if not paths:
        raise UserError(
            "The folder holds no data set",
            asked=f"--check={folder}",
            found=f"no file in a folder of it; {storage.nearest_names(os.path.join(folder, '*'))}",
            change="--check to the folder that --output named, or to a glob of the files, in quotes",
        )
    check_complete(paths, flag="check")
    return paths


def _task(path: str, manifest: Manifest | None, num_classes: int | None) -> FileToCheck:
    entry = entry_of(manifest, path) if manifest else None
    listed = len(manifest.class_names) if manifest else 0
    return FileToCheck(path, num_classes or max(2, listed), entry)


def _suitable_processes(paths: Sequence[str]) -> int:
    size = sum(storage.size(path) for path in paths)
    return max(1, min(len(os.sched_getaffinity(0)), len(paths), size // _BYTES_PER_PROCESS))


class _Place(NamedTuple):
    path: str
    offset: int

    def __str__(self) -> str:
        return f"{self.path}, record at byte {self.offset}"


class _Verdict:
    """Collects what was found and tells it."""

    def __init__(self, announce: Callable[[str], None]) -> None:
        self._announce = announce
        self._faults: list[str] = []
        self._files = self._records = 0
        self._ids: dict[bytes, _Place] = {}
        self._pictures: dict[bytes, _Place] = {}
        self._same_pictures: list[str] = []

    def add(self, file: CheckedFile) -> None:
        """Takes one file into account; files come in their order."""
        faults = [f"{file.path}, {fault}" for fault in file.faults]
        for record in file.records:
            place = _Place(file.path, record.offset)
            if record.image_id is not None:
                first = self._ids.setdefault(record.image_id, place)
                if first is not place:
                    faults.append(
                        f"{place}: its id {record.image_id.decode('utf-8', 'replace')} is also that of {first}"
                    )
            twin = self._pictures.setdefault(record.picture_digest, place)
            if twin is not place:
                self._same_pictures.append(f"{place} and {twin}")
        self._files += 1
        self._records += file.count
        self._announce(f"{file.path}: {file.summary}" + (f", {len(faults)} faults" if faults else ", intact"))
        for fault in faults[:_MOST_SHOWN]:
            self._announce(f"  {fault}")
        if len(faults) > _MOST_SHOWN:
            self._announce(f"  … and {len(faults) - _MOST_SHOWN} more faults in this file")
        self._faults += faults

    def add_missing(self, folder: str, manifest: Manifest, splits: Container[str]) -> None:
        """Looks for shards of these splits that a manifest lists and that are not there."""
        for shard in manifest.shards:
            if shard.split in splits and not storage.exists(os.path.join(folder, shard.path)):
                fault = f"{os.path.join(folder, shard.path)}: it is listed in {NAME} and is not there"
                self._announce(fault)
                self._faults.append(fault)

    def conclude(self, options: CheckOptions) -> None:
        """Says how it ended.

        Raises:
          DataError: there was a fault.
        """
        if self._same_pictures:
            self._announce(
                f"note: {len(self._same_pictures)} pictures occur more than once, byte for byte, for example "
                f"{self._same_pictures[0]}"
            )
        if self._faults:
            raise DataError(
                "The data set has faults",
                asked=f"--check={options.check}",
                found=f"{len(self._faults)} faults in {self._files} files with {self._records} records, the first: "
                f"{self._faults[0]}",
                change="make or copy those files anew, or mend the records that are named",
            )
        if not self._records:
            raise DataError(
                "The data set holds no record",
                asked=f"--check={options.check}",
                found=f"{self._files} empty files",
                change="--check",
            )
        self._announce(f"{self._records} records in {self._files} files: no fault")
