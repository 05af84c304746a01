"""What a run writes beside its output: where it lies, and whether its places are free."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable

from estimators import storage
from estimators.errors import UserError

QUARANTINE_COLUMNS = ("file", "row", "offset", "bytes", "id", "reason")
QUARANTINE_HEADER = (",".join(QUARANTINE_COLUMNS) + "\n").encode()
SIDE_FILE_KEYS = ("output", "rows", "sha256")


def parts_path(output: str) -> str:
    """The folder of the parts that are finished."""
    return output.rstrip("/") + ".parts"


def quarantine_path(output: str) -> str:
    """The list of the bad records."""
    return output.rstrip("/") + ".quarantine.csv"


def side_file_path(output: str) -> str:
    """What the output was made of."""
    return output.rstrip("/") + ".json"


def check_places(output: str, *, flag: str, inputs: Iterable[str]) -> None:
    """Refuses an output whose neighbours would replace what is no run's.

    Args:
      output: the file or folder.
      flag: the flag it came from.
      inputs: files that are read.

    Raises:
      UserError: a folder, an input file or somebody's own file lies where one is going to be written.
    """
    read = {os.path.realpath(path) for path in inputs}
    for path, what, is_ours in (
        (quarantine_path(output), "the list of bad records", _is_quarantine),
        (side_file_path(output), "the file that says what it was made of", _is_side_file),
    ):
        found = ""
        if storage.is_dir(path):
            found = "it is a folder"
        elif os.path.realpath(path) in read:
            found = "it is one of the input files"
        elif storage.exists(path) and not is_ours(path):
            found = "it is a file of yours, which would be lost"
        if found:
            raise UserError(
                f"Where {what} is going to be, something else lies",
                asked=f"--{flag}={output}",
                found=f"{path}: {found}",
                change=f"--{flag}, or move that away",
            )


def _is_quarantine(path: str) -> bool:
    with storage.open_binary(path) as file:
        return file.readline(len(QUARANTINE_HEADER)) == QUARANTINE_HEADER


def _is_side_file(path: str) -> bool:
    try:
        content = json.loads(storage.read_text(path))
    except ValueError:
        return False
    return isinstance(content, dict) and content.keys() >= set(SIDE_FILE_KEYS)
