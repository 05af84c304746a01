"""Continuing from the newest checkpoint that is sound, when a newer one is torn.

A crash of the machine, a full disk or a copy that was cut off leaves a checkpoint whose index or data is missing, short
or damaged. TensorFlow restores what the file `checkpoint` names, whatever state that is in: it ends with an error, or,
where the index is missing, begins at step 0 without a word. So before a run begins that file is made to name the newest
sound checkpoint, and what is torn is set aside in `torn/`; nothing is deleted.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass

from estimators import storage
from estimators.checkpoints.checkpoint_files import Checkpoint, files_of_step
from estimators.checkpoints.checkpoint_soundness import flaw_of
from estimators.errors import UserError

TORN_FOLDER = "torn"
_STATE_FILE = "checkpoint"  # which TensorFlow reads to find what to restore
_FILE = re.compile(r"model\.ckpt-(\d+)(\.index|\.meta|\.data-\d{5}-of-\d{5}|_temp)")


@dataclass(frozen=True)
class Soundness:
    """What a train_dir holds.

    Attributes:
      newest: the newest checkpoint that is sound, or None.
      flaws: step -> what is wrong with it, of those that are newer, or of all, the newest first.
      begun: whether any was ever complete. A run that was killed as it saved its first one has a flaw, and begins anew.
    """

    newest: Checkpoint | None
    flaws: dict[int, str]
    begun: bool


def look(train_dir: str) -> Soundness:
    """Reads checkpoints, the newest first, until one is sound. Writes nothing."""
    names = storage.list_dir(train_dir)
    steps = {int(match[1]) for name in names if (match := _FILE.fullmatch(name)) and match[2] != "_temp"}
    flaws: dict[int, str] = {}
    for step in sorted(steps, reverse=True):
        prefix = os.path.join(train_dir, f"model.ckpt-{step}")
        flaw = flaw_of(prefix)
        if flaw is None:
            return Soundness(Checkpoint(step, prefix), flaws, True)
        flaws[step] = flaw
    # Each checkpoint that is complete is named in a file; and a sound index is written after all data.
    lost = any(not flaw.partition(" ")[0].endswith(".index") for flaw in flaws.values())
    return Soundness(None, flaws, lost or (bool(flaws) and _STATE_FILE in names))


def check_sound(train_dir: str) -> Soundness:
    """Like `look`.

    Raises:
      UserError: there are checkpoints, and none is sound.
    """
    found = look(train_dir)
    if found.newest is None and found.flaws and found.begun:
        raise UserError(
            "No checkpoint in --train_dir is sound",
            asked=f"--train_dir={train_dir}",
            found="; ".join(f"step {step}: {flaw}" for step, flaw in found.flaws.items()),
            change="bring a sound one back from a copy, or --start_new_model to delete them and begin anew",
        )
    return found


def set_torn_aside(train_dir: str, *, announce: Callable[[str], None] = print) -> None:
    """Makes TensorFlow restore the newest sound checkpoint, or none if there is none.

    To be called before a run begins, by the one process that has the folder.

    Args:
      train_dir: the folder.
      announce: called with a line for each checkpoint that is torn.

    Raises:
      UserError: see `check_sound`.
    """
    found = check_sound(train_dir)
    goes_on = f"training goes on from step {found.newest.step}" if found.newest else "training begins at step 0"
    folder = os.path.join(train_dir, TORN_FOLDER)
    folder = os.path.join(folder, str(len(storage.list_dir(folder)) + 1))  # beside those of an earlier time
    for step, flaw in found.flaws.items():
        announce(f"the checkpoint of step {step} is torn: {flaw}; it is set aside in {folder}, and {goes_on}")
        storage.make_dirs(folder)
        for name in files_of_step(storage.list_dir(train_dir), step):
            storage.rename(os.path.join(train_dir, name), os.path.join(folder, name))
    for name in storage.list_dir(train_dir):
        if (match := _FILE.fullmatch(name)) and match[2] == "_temp":
            storage.delete(os.path.join(train_dir, name))  # parts of a checkpoint that never was one
    _name_newest(train_dir, found.newest)


def ensure_named(train_dir: str, newest: Checkpoint) -> None:
    """Has TensorFlow restore `newest` if what it would restore is not there; to be called by a chief before it begins.

    A chief that outlived its run for a moment may have named a checkpoint that was set aside meanwhile; then TensorFlow
    would begin at step 0 without a word.
    """
    named = _named(train_dir)
    if named is None or not storage.exists(os.path.join(train_dir, f"{named}.index")):
        _name_newest(train_dir, newest)


def _named(train_dir: str) -> str | None:
    """The name of the checkpoint that TensorFlow would restore."""
    path = os.path.join(train_dir, _STATE_FILE)
    if not storage.exists(path):
        return None
    match = re.search(r'^model_checkpoint_path: "(.*)"', storage.read_text(path), re.M)
    return match[1].rpartition("/")[2] if match else None


def _name_newest(train_dir: str, newest: Checkpoint | None) -> None:
    path = os.path.join(train_dir, _STATE_FILE)
    if newest is None:
        storage.delete(path)
        return
    name = os.path.basename(newest.prefix)
    if _named(train_dir) != name:
        storage.write_text(path, f'model_checkpoint_path: "{name}"\nall_model_checkpoint_paths: "{name}"\n')
