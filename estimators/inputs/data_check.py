"""Looks at data files before anything is written, and finds the damaged record after TensorFlow met one.

TensorFlow-free as far as the first look goes, so that a mistake is told within a second.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from estimators import storage
from estimators.data_set.manifest import NAME, Listed, counts_of, largest_label, listed
from estimators.data_set.matching_files import matching_files
from estimators.errors import DataError, UserError
from estimators.processes.progress import with_progress
from estimators.records.record_check import pillow_error, record_fault
from estimators.records.record_schema import IMAGE_ENCODED, IMAGE_ID, IMAGE_LABEL
from estimators.records.tfrecord_framing import DamagedRecordError, count_records, read_records


@dataclass(frozen=True)
class DataFiles:
    """The files of one data set, and how many records each holds."""

    paths: tuple[str, ...]
    counts: tuple[int, ...]

    @property
    def examples(self) -> int:
        """Records in all files."""
        return sum(self.counts)


def check_data(
    pattern: str, *, flag: str, num_classes: int | None, on_bad_record: str, announce: Callable[[str], None] = print
) -> DataFiles:
    """Finds the files, tries the first record of each, and counts the records: by manifest.json or by their headers.

    Args:
      pattern: the glob.
      flag: the flag it came from, for messages.
      num_classes: labels must be in [0, num_classes); None if the records need no label.
      on_bad_record: "fail" raises at damage; "skip" lets it pass, since it will be left out and counted later.
      announce: called with a line for each damage that is let pass.

    Raises:
      UserError: no file matches, or none holds a record.
      DataError: a file is no TFRecord file, or its first record lacks something, or a manifest tells of more classes.
    """
    paths = matching_files(pattern, flag=flag)
    skip = on_bad_record == "skip"

    def pass_over(damage: Exception) -> None:
        announce(f"damaged, will be skipped: {damage}")

    for path in with_progress(paths, len(paths), "files looked at"):
        _check_readable(path, flag)
        try:
            _try_first_record(path, num_classes)
        except _BadRecord as bad:
            if not skip:
                raise bad.as_error(change=_how_to_go_on(flag)) from None
            pass_over(bad)
        except DamagedRecordError as damage:
            # A file whose very first header is wrong is no TFRecord file, also where damaged records may be skipped.
            if not skip or not count_records(path, on_damage=lambda _: None):
                raise
            pass_over(damage)
    # Whoever expects damage has every header looked at.
    known = [] if skip else list(listed(with_progress(paths, len(paths), "files looked up")))
    if num_classes is not None:
        _check_classes(known, flag, num_classes)
    counts = None if skip else counts_of(known)
    if counts is None:
        each = (count_records(path, on_damage=pass_over if skip else None) for path in paths)
        counts = tuple(with_progress(each, len(paths), "files counted"))
    if not sum(counts):
        raise DataError(
            f"The files of --{flag} hold no record",
            asked=f"--{flag}={pattern}",
            found=f"{len(paths)} empty files",
            change=f"--{flag}",
        )
    return DataFiles(tuple(paths), counts)


def _check_classes(files: Sequence[Listed | None], flag: str, num_classes: int) -> None:
    # Only the first record of a file is tried; where a manifest knows the others, none is met after a run was emptied.
    label, name = largest_label(files) or (-1, "")
    if label >= num_classes:
        raise DataError(
            f"--{flag} has more classes than --num_classes",
            asked=f"--num_classes={num_classes}",
            found=f"pictures with label {label} ({name}), by the {NAME} beside them",
            change=f"--num_classes={label + 1}",
        )


def _check_readable(path: str, flag: str) -> None:
    try:
        with storage.open_binary(path):
            return
    except OSError as error:
        raise UserError(
            f"A file of --{flag} cannot be read", asked=path, found=error.strerror or str(error), change=f"--{flag}"
        ) from None


class _BadRecord(Exception):
    """A record whose frame is intact but whose content is not."""

    def __init__(self, path: str, offset: int, image_id: bytes | None, reason: str) -> None:
        name = f" ({image_id.decode('utf-8', 'replace')})" if image_id else ""
        super().__init__(f"{path}, record at byte {offset}{name}: {reason}")

    def as_error(self, change: str) -> DataError:
        return DataError("A record cannot be used", found=str(self), change=change)


def _how_to_go_on(flag: str, other: str = "--on_bad_record=skip") -> str:
    return f"mend or remove that record, leave its file out of --{flag}, or leave bad records out: {other}"


def check_first_record(path: str, *, flag: str, other_policies: str, max_pixels: int) -> None:
    """Tries the first record of a file, if it has one.

    Args:
      path: the file.
      flag: the flag it came from, for the message.
      other_policies: flag and value that let bad records be left out.
      max_pixels: see `pillow_error`.

    Raises:
      DataError: it is no TFRecord file, or the record lacks something.
    """
    try:
        _try_first_record(path, None, max_pixels)
    except DamagedRecordError as damage:
        change = _how_to_go_on(flag, other_policies)
        raise DamagedRecordError(damage.summary, asked=damage.asked, found=damage.found, change=change) from None
    except _BadRecord as bad:
        raise bad.as_error(change=_how_to_go_on(flag, other_policies)) from None


def _try_first_record(path: str, num_classes: int | None, max_pixels: int | None = None) -> None:
    for offset, data in read_records(path):
        _check_record(path, offset, data, num_classes, functools.partial(pillow_error, max_pixels=max_pixels))
        return


def _check_record(
    path: str, offset: int, data: bytes, num_classes: int | None, decoding_error: Callable[[bytes], str | None]
) -> None:
    needed = (IMAGE_ENCODED, IMAGE_ID if num_classes is None else IMAGE_LABEL)
    example, fault = record_fault(data, needed=needed, num_classes=num_classes, decoding_error=decoding_error)
    if fault:
        raise _BadRecord(path, offset, example.image_id if example else None, fault)


def find_bad_record(files: DataFiles, *, flag: str, num_classes: int | None, seconds: float = 60.0) -> DataError | None:
    """Reads on until the record that TensorFlow stumbled over, whose own message does not name it.

    Args:
      files: the data set.
      flag: the flag it came from, for the message.
      num_classes: labels must be in [0, num_classes); None if the records need no label.
      seconds: how long to look; a very large data set is not read to its end.

    Returns:
      The error to show, or None if no damage was found in that time.
    """
    until = time.monotonic() + seconds
    for path in files.paths:
        try:
            for offset, data in read_records(path):
                _check_record(path, offset, data, num_classes, _tensorflow_error)
                if time.monotonic() > until:
                    return None
        except DataError as damage:
            return damage
        except _BadRecord as bad:
            return bad.as_error(change=_how_to_go_on(flag))
    return None


def _tensorflow_error(encoded: bytes) -> str | None:
    import tensorflow as tf

    from estimators.inputs.image_decoding import decode_image
    from estimators.tensorflow_compat import reason_of

    try:
        with tf.init_scope():
            decode_image(tf.constant(encoded), 32)
    except tf.errors.InvalidArgumentError as error:
        return reason_of(error.message)
    return None
