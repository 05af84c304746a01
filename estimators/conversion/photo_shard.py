"""Writes one shard of photos: what one task of a cluster does."""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from estimators import storage
from estimators.conversion.photo_encoding import EncodedPhoto, NoPictureError, encode_photo
from estimators.conversion.photo_layout import Photo
from estimators.conversion.photo_source import PhotoSource, UnreadableError, open_source
from estimators.conversion.photo_splits import PlannedShard
from estimators.conversion.shard_writer import WrittenShard, new_shard
from estimators.errors import UserError
from estimators.records.record_schema import serialize_example

_PHOTOS_BETWEEN_REPORTS = 20


@dataclass(frozen=True)
class Rejection:
    """A picture that was left out: its path in --input, and why."""

    name: str
    reason: str


@dataclass(frozen=True)
class ConvertedShard:
    """A finished shard.

    Attributes:
      planned: what it was to hold.
      written: what it holds.
      labels: label -> how many of its pictures have it, also where the records do not say so.
      treatments: see photo_encoding.EncodedPhoto -> how many.
      rejections: what was left out.
    """

    planned: PlannedShard
    written: WrittenShard
    labels: Mapping[int, int]
    treatments: Mapping[str, int]
    rejections: tuple[Rejection, ...]


def convert_shard(source_path: str, folder: str, planned: PlannedShard) -> Iterator[int | ConvertedShard]:
    """Writes `folder/planned.path`, whole or not at all.

    Args:
      source_path: the folder or .zip of the photos.
      folder: where the data set is made; the split's folder in it exists.
      planned: the shard.

    Yields:
      Now and then how many more photos are done; at the end, once, the shard.

    Raises:
      UserError: this machine does not see the source or the folder, or cannot write there.
    """
    _check_is_here("input", source_path)
    _check_is_here("output", os.path.dirname(os.path.join(folder, planned.path)))
    labels: Counter[int] = Counter()
    treatments: Counter[str] = Counter()
    rejections: list[Rejection] = []
    unreported = 0
    with open_source(source_path) as source, _told_if_full(folder), new_shard(folder, planned.path) as shard:
        for photo in planned.photos:
            try:
                encoded, record = _record(source, photo, labelled=planned.labelled)
            except (UnreadableError, NoPictureError) as error:
                rejections.append(Rejection(photo.name, str(error)))
            else:
                shard.write(record)
                treatments[encoded.treatment] += 1
                if photo.label is not None:
                    labels[photo.label] += 1
            unreported += 1
            if unreported == _PHOTOS_BETWEEN_REPORTS:
                yield unreported
                unreported = 0
    yield unreported
    yield ConvertedShard(planned, shard.written(), labels, treatments, tuple(rejections))


def _record(source: PhotoSource, photo: Photo, *, labelled: bool) -> tuple[EncodedPhoto, bytes]:
    encoded = encode_photo(source.read(photo.name))
    try:
        return encoded, serialize_example(encoded.data, photo.image_id, photo.label if labelled else None)
    except UnicodeEncodeError:
        raise UnreadableError("its name is not valid UTF-8, and an id must be") from None


def _check_is_here(flag: str, path: str) -> None:
    if not storage.exists(path):
        raise UserError(
            f"A machine of the cluster does not see --{flag}",
            asked=path,
            found=f"it is not there on {os.uname().nodename}",
            change=f"give --{flag} a path that every node of the cluster can reach",
        )


@contextlib.contextmanager
def _told_if_full(folder: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UserError(
            "A shard cannot be written",
            asked=f"--output, at first as {folder}",
            found=f"{error.strerror or error} on {os.uname().nodename}",
            change="make room there, or give --output another folder",
        ) from error
