"""Verifies one TFRecord file: checksums, fields, labels, whether its pictures decode."""

from __future__ import annotations

import hashlib
import warnings
from collections import Counter
from dataclasses import dataclass

from PIL import Image

from estimators import storage
from estimators.data_set.manifest import NAME, ShardEntry
from estimators.records.record_check import pillow_error, record_fault
from estimators.records.record_schema import IMAGE_ENCODED, IMAGE_ID, Example
from estimators.records.tfrecord_framing import DamagedRecordError, read_records


@dataclass(frozen=True)
class FileToCheck:
    """One file to verify.

    Attributes:
      path: the file.
      num_classes: labels must be in [0, num_classes).
      entry: what its manifest says about it; None if there is none.
    """

    path: str
    num_classes: int
    entry: ShardEntry | None


@dataclass(frozen=True)
class CheckedRecord:
    """What is compared with the records of other files.

    Attributes:
      offset: where it begins in its file.
      image_id: its id; None if it has none.
      picture_digest: equal for equal pictures.
    """

    offset: int
    image_id: bytes | None
    picture_digest: bytes


@dataclass(frozen=True)
class CheckedFile:
    """What was found in one file.

    Attributes:
      path: the file.
      count: records that could be read.
      summary: how many records, and the labels of those without a fault.
      faults: a line each; the path is not in them.
      records: those that hold a picture.
    """

    path: str
    count: int
    summary: str
    faults: tuple[str, ...]
    records: tuple[CheckedRecord, ...]


def check_file(task: FileToCheck) -> CheckedFile:
    """Reads one file to its end; damage is a fault, not an error."""
    faults: list[str] = []
    records: list[CheckedRecord] = []
    labels: Counter[int | None] = Counter()
    count = 0

    def take_damage(damage: DamagedRecordError) -> None:
        faults.append(damage.found.removeprefix(f"{task.path} "))

    for offset, data in read_records(task.path, on_damage=take_damage):
        count += 1
        example, fault = _checked(data, task.num_classes)
        if fault:
            name = f" ({example.image_id.decode('utf-8', 'replace')})" if example and example.image_id else ""
            faults.append(f"record at byte {offset}{name}: {fault}")
        elif example:
            labels[example.label] += 1
        if example and example.encoded:
            records.append(CheckedRecord(offset, example.image_id, hashlib.md5(example.encoded).digest()))
    if labels[None] and len(labels) > 1:
        faults.append(f"{labels[None]} of its {labels.total()} records have no label and the others have one")
    if task.entry:
        faults += _differences(task.path, task.entry, count)
    return CheckedFile(task.path, count, _summary(count, labels), tuple(faults), tuple(records))


def _checked(data: bytes, num_classes: int) -> tuple[Example | None, str | None]:
    """The record, and what is wrong with it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about what hinders nobody from decoding the picture
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        return record_fault(
            data, needed=(IMAGE_ENCODED, IMAGE_ID), num_classes=num_classes, decoding_error=pillow_error
        )


def _differences(path: str, entry: ShardEntry, count: int) -> list[str]:
    """How the file differs from what its manifest says about it."""
    if count != entry.examples:
        return [f"{count} records can be read and {NAME} lists {entry.examples}"]
    with storage.open_binary(path) as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != entry.sha256:  # type: ignore[arg-type]
            return [f"its SHA-256 is not the one in {NAME}: it was changed after it was made"]
    return []


def _summary(count: int, labels: Counter[int | None]) -> str:
    known = ", ".join(
        f"{labels[label]} of label {label}" for label in sorted(label for label in labels if label is not None)
    )
    unlabelled = f"{labels[None]} without label" if labels[None] else ""
    found = ", ".join(filter(None, (known, unlabelled)))
    return f"{count} records" + (f" ({found})" if found else "")
