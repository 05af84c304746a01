"""The front door of converting photos: options -> a data set, one Ray task a shard."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from cvd_cluster.embedded_ray import usable_cores
from cvd_cluster.lost_ray import lost_ray_ends
from cvd_cluster.ray_errors import told_plainly
from cvd_cluster.ray_session import ray_session
from estimators import storage
from estimators.conversion.photo_layout import Layout, read_layout
from estimators.conversion.photo_options import PhotoOptions
from estimators.conversion.photo_results import REJECTED, finish_data_set
from estimators.conversion.photo_shard import ConvertedShard, convert_shard
from estimators.conversion.photo_source import open_source
from estimators.conversion.photo_splits import PlannedShard, plan_shards
from estimators.data_set.manifest import Manifest
from estimators.data_set.new_folder import check_is_new, new_folder
from estimators.errors import UserError, first_of
from estimators.processes.progress import with_progress
from estimators.storage.access import check_access

_SECONDS_OF_SILENCE = 60.0


def convert_photos(options: PhotoOptions, *, announce: Callable[[str], None] = print) -> Manifest:
    """Writes `options.output`, whole or not at all; equal photos and options give equal bytes.

    Args:
      options: which photos, and where to.
      announce: takes a line for the user.

    Raises:
      UserError: the photos are not in a layout that is known, or the output cannot be written.
      DataError: two photos have one id, too many do not decode, or the .zip is damaged or not accepted.
      InfrastructureError: Ray failed.
    """
    # Ray's workers have a working directory of their own.
    source_path, output = (storage.absolute(os.path.expanduser(path)) for path in (options.input, options.output))
    check_access(read={"input": source_path})
    check_is_new(output)
    with open_source(source_path) as source:
        layout = read_layout(source.names(), f"--input={options.input}", unlabelled=options.unlabelled)
    planned = plan_shards(layout, options)
    _announce_passed_over(layout, announce)
    with new_folder(output) as staging:
        for split in sorted({os.path.dirname(shard.path) for shard in planned}):
            storage.make_dirs(os.path.join(staging, split))
        with (
            ray_session(cpus_needed=min(usable_cores(), len(planned)), announce=announce) as session,
            lost_ray_ends(session, change="run the command again; nothing was published"),
            told_plainly("converting", smaller="more --num_shards or smaller pictures"),
        ):
            converted = _convert_all(source_path, staging, planned, announce)
        _check_all_are_here(staging, converted)
        manifest = finish_data_set(staging, layout, options, converted)
    _announce_pictures(manifest, output, announce)
    return manifest


def _convert_all(
    source_path: str, folder: str, planned: Sequence[PlannedShard], announce: Callable[[str], None]
) -> list[ConvertedShard]:
    """All shards, in the order of `planned`."""
    import ray

    # A generator, which can tell how far it is before it ends.
    task = ray.remote(num_cpus=1)(convert_shard).options(num_returns="streaming")
    finished: dict[str, ConvertedShard] = {}

    def photos_done() -> Iterator[None]:
        for item in _as_they_come([task.remote(source_path, folder, shard) for shard in planned], announce):
            if isinstance(item, ConvertedShard):
                finished[item.planned.path] = item
            else:
                yield from [None] * item

    for _ in with_progress(photos_done(), sum(len(shard.photos) for shard in planned), "pictures converted"):
        pass
    return [finished[shard.path] for shard in planned]


def _as_they_come(streams: list[Any], announce: Callable[[str], None]) -> Iterator[Any]:
    """What Ray's generator tasks yield, whichever is next.

    Raises:
      ray.exceptions.RayError: a task failed.
    """
    import ray

    while streams:
        ready, _ = ray.wait(streams, num_returns=1, timeout=_SECONDS_OF_SILENCE)
        if not ready:
            free = ray.available_resources().get("CPU", 0.0)
            announce(f"nothing was converted for {_SECONDS_OF_SILENCE:.0f} seconds; {free:g} of Ray's CPUs are free")
        for stream in ready:
            try:
                reference = next(stream)
            except StopIteration:
                streams.remove(stream)
            else:
                yield ray.get(reference)


def _check_all_are_here(folder: str, shards: Sequence[ConvertedShard]) -> None:
    """Makes sure that what other machines wrote arrived in the folder that this one sees."""
    for shard in shards:
        path = os.path.join(folder, shard.written.path)
        if not storage.exists(path) or storage.size(path) != shard.written.size:
            raise UserError(
                "A shard that another machine wrote did not arrive",
                asked=f"--output, at first as {folder}",
                found=f"no {shard.written.path} of {shard.written.size} bytes on {os.uname().nodename}",
                change="give --output a path that is the same folder on every node of the cluster",
            )


def _announce_passed_over(layout: Layout, announce: Callable[[str], None]) -> None:
    if names := layout.passed_over:
        announce(f"passed over, no pictures by their names: {len(names)} files ({first_of(names)})")


def _announce_pictures(manifest: Manifest, output: str, announce: Callable[[str], None]) -> None:
    counts = manifest.pictures
    line = f"{counts['kept']} JPEGs kept as they are, {counts['turned']} turned, {counts['re_encoded']} re-encoded"
    if counts["rejected"]:
        line += f", {counts['rejected']} left out, see {os.path.join(output, REJECTED)}"
    announce(line)
