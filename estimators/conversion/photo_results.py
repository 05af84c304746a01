"""What is written once all shards of a photo data set are there: its lists and its manifest."""

from __future__ import annotations

import csv
import io
import os
from collections import Counter
from collections.abc import Iterable, Sequence

import PIL

from estimators import storage
from estimators.conversion.photo_layout import Layout
from estimators.conversion.photo_options import PhotoOptions
from estimators.conversion.photo_shard import ConvertedShard, Rejection
from estimators.data_set.manifest import Manifest, ShardEntry
from estimators.errors import DataError
from estimators.submission_format import HEADER, submission_row

REJECTED = "rejected.csv"
TEST_LABELS = "test_labels.csv"
_MOST_SHOWN = 3


def finish_data_set(folder: str, layout: Layout, options: PhotoOptions, shards: Sequence[ConvertedShard]) -> Manifest:
    """Writes manifest.json; rejected.csv if pictures were left out; test_labels.csv if test/ has known classes.

    Args:
      folder: the data set's, with all shards in it.
      layout: what was found in --input.
      options: what was asked for.
      shards: all of them, in their order.

    Raises:
      DataError: more pictures do not decode than may be left out, or none of a class is left for training.
    """
    rejections = [rejection for shard in shards for rejection in shard.rejections]
    _check_rejections(rejections, len(layout.photos), options)
    manifest = Manifest(
        class_names=layout.class_names,
        seed=options.seed,
        shards=tuple(_entry(shard, layout.class_names) for shard in shards),
        pictures=_pictures(layout, shards, len(rejections)),
        made_with=f"Pillow {PIL.__version__}",
    )
    _check_classes(manifest, rejections, options)
    if rejections:
        _write_text(os.path.join(folder, REJECTED), _rejected_csv(rejections))
    if test_labels := _test_labels(shards):
        _write_text(os.path.join(folder, TEST_LABELS), HEADER + test_labels)
    manifest.write(folder)
    return manifest


def _entry(shard: ConvertedShard, class_names: Sequence[str]) -> ShardEntry:
    written = shard.written
    return ShardEntry(
        path=written.path,
        examples=written.examples,
        labelled=shard.planned.labelled,
        classes={name: shard.labels.get(label, 0) for label, name in enumerate(class_names)},
        size=written.size,
        sha256=written.sha256,
    )


def _pictures(layout: Layout, shards: Iterable[ConvertedShard], rejected: int) -> dict[str, int]:
    treatments: Counter[str] = Counter()
    for shard in shards:
        treatments.update(shard.treatments)
    counts = {name: treatments[name] for name in ("kept", "turned", "re_encoded")}
    return {**counts, "rejected": rejected, "passed_over": len(layout.passed_over)}


def _check_rejections(rejections: Sequence[Rejection], pictures: int, options: PhotoOptions) -> None:
    allowed = options.rejections_allowed(pictures)
    if len(rejections) > allowed or len(rejections) == pictures:
        raise DataError(
            "Too many pictures do not decode",
            asked=f"--max_rejected={options.max_rejected:g}, which is {allowed} of {pictures}",
            found=f"{len(rejections)} that do not: {_shown(rejections)}",
            change="mend or remove them; or leave them out with a larger --max_rejected, which lists all in "
            f"{REJECTED}",
        )


def _check_classes(manifest: Manifest, rejections: Sequence[Rejection], options: PhotoOptions) -> None:
    train = Counter[str]()
    for shard in manifest.shards:
        if shard.split == "train":
            train.update(shard.classes)
    for name in manifest.class_names:
        if not train[name]:
            raise DataError(
                f"No picture of class {name} is left for training",
                asked=f"--input={options.input}",
                found=f"{len(rejections)} pictures do not decode: {_shown(rejections)}",
                change="mend them or add others",
            )


def _shown(rejections: Sequence[Rejection]) -> str:
    some = "; ".join(f"{rejection.name}: {rejection.reason}" for rejection in rejections[:_MOST_SHOWN])
    return some + ("; …" if len(rejections) > _MOST_SHOWN else "")


def _rejected_csv(rejections: Iterable[Rejection]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("file", "reason"))
    writer.writerows((rejection.name, rejection.reason) for rejection in rejections)
    return text.getvalue()


def _test_labels(shards: Iterable[ConvertedShard]) -> str:
    """The rows of a submission that would be right in every line."""
    rows = []
    for shard in shards:
        if shard.planned.path.startswith("test/"):
            left_out = {rejection.name for rejection in shard.rejections}
            known = (photo for photo in shard.planned.photos if photo.label is not None and photo.name not in left_out)
            rows += [submission_row(photo.image_id, photo.label or 0) for photo in known]
    return "".join(rows)


def _write_text(path: str, text: str) -> None:
    # A file name need not be valid UTF-8.
    storage.write_text(path, text.encode("utf-8", "backslashreplace").decode("utf-8"))
