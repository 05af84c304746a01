"""Draws a whole data set into a new folder."""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
from collections import Counter
from collections.abc import Sequence

import PIL

from estimators.conversion.drawn_pictures import CLASS_NAMES, draw_picture
from estimators.conversion.ordered_processes import map_in_order
from estimators.conversion.shard_writer import WrittenShard, write_split
from estimators.conversion.splits import PlannedPicture, plan_splits
from estimators.conversion.synthetic_options import SyntheticOptions
from estimators.data_set.manifest import Manifest, ShardEntry
from estimators.data_set.new_folder import new_folder
from estimators.processes.progress import with_progress
from estimators.records.record_schema import serialize_example

# Fewer pictures than this do not make up for the start of another process.
_PICTURES_PER_PROCESS = 100


def _drawn_record(picture: PlannedPicture, *, seed: int) -> bytes:
    encoded = draw_picture(seed, picture.index, picture.label)
    return serialize_example(encoded, picture.image_id, picture.label if picture.labelled else None)


def _suitable_processes(num_pictures: int) -> int:
    return max(1, min(len(os.sched_getaffinity(0)), num_pictures // _PICTURES_PER_PROCESS))


def write_synthetic_data_set(options: SyntheticOptions, num_processes: int | None = None) -> Manifest:
    """Writes `options.output`, whole or not at all; equal options give equal bytes.

    Args:
      options: what to draw, and where to.
      num_processes: how many processes draw; None takes as many as are worth it. The bytes do not depend on it.

    Returns:
      What lies in `options.output`.

    Raises:
      UserError: the output folder is taken or cannot be written, or a split would be empty.
    """
    splits = plan_splits(options)
    num_processes = num_processes or _suitable_processes(options.synthetic)
    draw = functools.partial(_drawn_record, seed=options.seed)
    pictures = itertools.chain.from_iterable(splits.values())
    entries: list[ShardEntry] = []
    with (
        new_folder(options.output) as staging,
        contextlib.closing(map_in_order(draw, pictures, num_processes)) as drawn,
        contextlib.closing(with_progress(drawn, options.synthetic, "pictures drawn")) as records,
    ):
        for split, planned in splits.items():
            entries += _entries(planned, write_split(staging, split, records, len(planned), options.num_shards))
        manifest = Manifest(
            class_names=CLASS_NAMES,
            seed=options.seed,
            shards=tuple(entries),
            pictures={"drawn": options.synthetic},
            made_with=f"Pillow {PIL.__version__}",
        )
        manifest.write(staging)
    return manifest


def _entries(planned: Sequence[PlannedPicture], shards: Sequence[WrittenShard]) -> list[ShardEntry]:
    """The shards of one split, whose pictures are `planned` in their order."""
    entries, remaining = [], iter(planned)
    for shard in shards:
        labels = Counter(picture.label for picture in itertools.islice(remaining, shard.examples))
        entries.append(
            ShardEntry(
                path=shard.path,
                examples=shard.examples,
                labelled=planned[0].labelled,
                classes={name: labels[label] for label, name in enumerate(CLASS_NAMES)},
                size=shard.size,
                sha256=shard.sha256,
            )
        )
    return entries
