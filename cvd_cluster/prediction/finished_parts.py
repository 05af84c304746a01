"""The parts that are finished, in a folder beside the output, so that a run which was cut off goes on where it was.

A part's name holds a digest of all that it depends on: the identity of its file, the model's bytes, the options that
change what is computed. What bears another digest is of another model, file or option, and is deleted, never used.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from cvd_cluster.prediction.files_beside import parts_path
from cvd_cluster.prediction.input_files import InputFile
from cvd_cluster.prediction.part_columns import ERROR, from_bytes, report_of
from cvd_cluster.prediction.piece_columns import PieceReport
from estimators import storage
from estimators.errors import UserError

_NAME = re.compile(r"([0-9a-f]{32})-(\d{8})\.arrow")
_LOCK = "lock"
_VERSION = 2  # of what parts hold


@dataclass(frozen=True)
class FinishedPart:
    """What is kept in memory of a part.

    Attributes:
      first: see PieceRecords.
      end: the same.
      eof: the same.
      rows: how many its reader met: records, and damages that end in it.
      bad: how many of them have no prediction, not counting `lost`.
      lost: whether the piece ends in damage; see PieceRecords.
    """

    first: int | None
    end: int | None
    eof: int | None
    rows: int
    bad: int
    lost: bool


class FinishedParts:
    """The parts of one run; see `parts_folder`.

    Args:
      folder: where they are; it exists.
      files: the input files.
      made_with: all that parts depend on beside their file.
    """

    def __init__(self, folder: str, files: Sequence[InputFile], made_with: Mapping[str, Any]) -> None:
        self._folder = folder
        self._digests = [_digest(file, made_with) for file in files]
        self.of_file: list[dict[int, FinishedPart]] = [{} for _ in files]
        self._find(files)

    @property
    def rows(self) -> int:
        """Rows of all parts."""
        return sum(part.rows for parts in self.of_file for part in parts.values())

    def add(self, data: bytes) -> tuple[PieceReport, FinishedPart]:
        """Keeps a part for good: after this it outlives the end of the process, or of the machine.

        Args:
          data: as part_columns.to_bytes makes them.

        Returns:
          The report of its piece, and what is kept in memory.
        """
        part = from_bytes(data)
        report = report_of(part)
        with storage.written_whole(self._path(report.file, report.number)) as file:
            file.write(data)
        return report, self._remember(report.file, report, part)

    def read(self, file: int, number: int) -> pa.Table:
        """One part."""
        with storage.open_binary(self._path(file, number)) as opened:
            return from_bytes(opened.read())

    def forget(self, file: int, number: int) -> None:
        """Deletes a part that is not right."""
        del self.of_file[file][number]
        storage.delete(self._path(file, number))

    def delete(self) -> None:
        """Deletes all parts."""
        for file, parts in enumerate(self.of_file):
            for number in parts:
                storage.delete(self._path(file, number))

    def _path(self, file: int, number: int) -> str:
        return os.path.join(self._folder, f"{self._digests[file]}-{number:08d}.arrow")

    def _remember(self, file: int, report: PieceReport, part: pa.Table) -> FinishedPart:
        bad = part.num_rows - part[ERROR].null_count
        made = FinishedPart(report.first, report.end, report.eof, report.rows, bad, report.lost is not None)
        self.of_file[file][report.number] = made
        return made

    def _find(self, files: Sequence[InputFile]) -> None:
        known = {digest: index for index, digest in enumerate(self._digests)}
        for name in storage.list_dir(self._folder):
            match = _NAME.fullmatch(name)
            index = known.get(match[1]) if match else None
            if match and index is not None and self._is_usable(index, int(match[2]), files[index]):
                continue
            if match or storage.is_hidden_partial(name):  # what else lies there is somebody's own
                storage.delete(os.path.join(self._folder, name))

    def _is_usable(self, file: int, number: int, of: InputFile) -> bool:
        try:
            part = self.read(file, number)
            report = report_of(part)
        except (ValueError, FileNotFoundError):
            return False
        # The digest names the path; the index of the file may be another one than it was in the run before.
        if report.number != number or report.rows != part.num_rows or (of.pieces is not None and number >= of.pieces):
            return False
        self._remember(file, report, part)
        return True


def _digest(file: InputFile, made_with: Mapping[str, Any]) -> str:
    parts = [_VERSION, storage.absolute(file.path)]
    parts += [file.identity, file.piece_bytes, file.gzip, dict(sorted(made_with.items()))]
    return hashlib.blake2b(json.dumps(parts).encode(), digest_size=16).hexdigest()


@contextlib.contextmanager
def parts_folder(output: str, *, flag: str, announce: Callable[[str], None] = print) -> Iterator[str]:
    """The folder for the parts of an output, `<output>.parts`, for this run alone; deleted at the end if it is empty.

    Args:
      output: a file or a folder.
      flag: the flag it came from.
      announce: takes a line if nothing keeps another run away.

    Raises:
      UserError: another run is at work on the same output.
    """
    folder = parts_path(output)
    storage.make_dirs(folder)
    with contextlib.ExitStack() as stack:
        if not storage.is_remote(folder):  # an object store knows no locks
            lock = stack.enter_context(open(os.path.join(folder, _LOCK), "wb"))
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise UserError(
                    "Another run is at work on this output",
                    asked=f"--{flag}={output}",
                    found=f"a living process holds {folder}",
                    change=f"--{flag}, or wait for that run, or end it",
                ) from None
            except OSError:  # NFS without its lock service, Lustre as it is often mounted
                announce(f"no lock can be had in {folder}: let no other run write to this output meanwhile")
        try:
            yield folder
        finally:
            with contextlib.suppress(OSError):  # an error of before says more
                if set(storage.list_dir(folder)) <= {_LOCK}:
                    storage.delete(folder)
