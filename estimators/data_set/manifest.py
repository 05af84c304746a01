"""`manifest.json` of a data set that was made here: what each shard holds, so that nobody has to read it to know.

    {"version": 1, "made_with": "Pillow 12.0.0", "seed": 0, "class_names": ["cats", "dogs"],
     "splits": {"train": {"examples": 48, "labelled": true, "classes": {"cats": 24, "dogs": 24}}, …},
     "shards": [{"path": "train/train-00000-of-00004", "examples": 12, "labelled": true,
                 "classes": {"cats": 6, "dogs": 6}, "bytes": 540123, "sha256": "…"}, …],
     "pictures": {"kept": 79, "turned": 1, "re_encoded": 0, "rejected": 0, "passed_over": 0}}

The label of a class is its place in `class_names`. `classes` is empty where nobody knows the classes.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from estimators import storage

NAME = "manifest.json"
_VERSION = 1


@dataclass(frozen=True)
class ShardEntry:
    """One shard.

    Attributes:
      path: relative to the manifest's folder.
      examples: records in it.
      labelled: whether its records hold their class.
      classes: class name -> how many of its records are of it, also where the records do not say so; empty where the
        classes are not known.
      size: its bytes.
      sha256: of all its bytes, in hexadecimal digits.
    """

    path: str
    examples: int
    labelled: bool
    classes: Mapping[str, int]
    size: int
    sha256: str

    @property
    def split(self) -> str:
        """`train`, `validation` or `test`."""
        return self.path.partition("/")[0]


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """A whole data set.

    Attributes:
      class_names: a class's label is its place here; empty where the classes are not known.
      seed: what the data set was split (and drawn) with.
      shards: all shards, split by split.
      pictures: how many pictures went which way: kept, drawn, turned, re_encoded, rejected, passed_over.
      made_with: the library that encoded pictures, on whose version the bytes of encoded pictures depend.
    """

    class_names: tuple[str, ...]
    seed: int
    shards: tuple[ShardEntry, ...]
    pictures: Mapping[str, int]
    made_with: str

    def examples(self) -> dict[str, int]:
        """Split -> how many records it holds."""
        return {split: entry["examples"] for split, entry in self._splits().items()}

    def _splits(self) -> dict[str, dict[str, Any]]:
        splits: dict[str, dict[str, Any]] = {}
        for shard in self.shards:
            split = splits.setdefault(shard.split, {"examples": 0, "labelled": shard.labelled, "classes": {}})
            split["examples"] += shard.examples
            for name, count in shard.classes.items():
                split["classes"][name] = split["classes"].get(name, 0) + count
        return splits

    def write(self, folder: str) -> None:
        """Writes `folder/manifest.json`; to be done last, see `listed`."""
        content = {
            "version": _VERSION,
            "made_with": self.made_with,
            "seed": self.seed,
            "class_names": self.class_names,
            "splits": self._splits(),
            "shards": [
                {
                    "path": shard.path,
                    "examples": shard.examples,
                    "labelled": shard.labelled,
                    "classes": shard.classes,
                    "bytes": shard.size,
                    "sha256": shard.sha256,
                }
                for shard in self.shards
            ],
            "pictures": self.pictures,
        }
        storage.write_text(os.path.join(folder, NAME), json.dumps(content, indent=2) + "\n")

    def summary(self, folder: str) -> list[str]:
        """Lines for a person: what lies in `folder`."""
        lines = []
        for split, entry in self._splits().items():
            of_class = ", ".join(f"{count} {name}" for name, count in entry["classes"].items())
            label = "" if entry["labelled"] else ", without labels"
            files = os.path.join(folder, split, f"{split}-*")
            lines.append(f"{entry['examples']} pictures in {files}" + (f": {of_class}" if of_class else "") + label)
        if self.class_names:
            lines.append("labels: " + ", ".join(f"{label} = {name}" for label, name in enumerate(self.class_names)))
        return lines


def read_manifest(folder: str) -> Manifest | None:
    """The manifest in `folder`; None if there is none, or one that was not made here."""
    path = os.path.join(folder, NAME)
    if not storage.exists(path):
        return None
    try:
        content = json.loads(storage.read_text(path))
        if content["version"] != _VERSION:
            return None
        return Manifest(
            class_names=tuple(content["class_names"]),
            seed=content["seed"],
            shards=tuple(_entry(shard) for shard in content["shards"]),
            pictures=content["pictures"],
            made_with=content["made_with"],
        )
    # A file of this name may come from anywhere and hold anything.
    except (OSError, ValueError, LookupError, TypeError):
        return None


def _entry(shard: Mapping[str, Any]) -> ShardEntry:
    examples, size = shard["examples"], shard["bytes"]
    if type(examples) is not int or type(size) is not int or examples < 0:
        raise ValueError(f"{shard['path']}: no count")
    return ShardEntry(
        path=str(shard["path"]),
        examples=examples,
        labelled=bool(shard["labelled"]),
        classes=dict(shard["classes"]),
        size=size,
        sha256=str(shard["sha256"]),
    )


def data_set_folder(path: str) -> str:
    """The folder whose manifest would list the shard `path`."""
    return os.path.dirname(os.path.dirname(storage.absolute(path)))


def entry_of(manifest: Manifest, path: str) -> ShardEntry | None:
    """What the manifest of its folder says about the shard `path`; None if it does not list it."""
    folder, name = os.path.split(storage.absolute(path))
    relative = f"{os.path.basename(folder)}/{name}"
    return next((shard for shard in manifest.shards if shard.path == relative), None)


@dataclass(frozen=True)
class Listed:
    """What the manifest of its folder says of a file.

    Attributes:
      manifest: the whole of it.
      entry: the file's.
    """

    manifest: Manifest
    entry: ShardEntry


def listed(paths: Iterable[str]) -> Iterator[Listed | None]:
    """What the manifests beside the files say of them, without opening one of the files.

    A file that was changed or put there later is not trusted: its size must be the one that is listed, and it must not
    be younger than its manifest, which is written last. (A copy in which the order of the times was lost is counted
    anew, which costs time and nothing else.)

    Args:
      paths: TFRecord files.

    Returns:
      In the order of `paths`; None for a file that is not listed, or not as it was.
    """
    manifests: dict[str, tuple[Manifest, int] | None] = {}
    for path in paths:
        folder = data_set_folder(path)
        if folder not in manifests:
            found = read_manifest(folder)
            manifests[folder] = (found, storage.modified_ns(os.path.join(folder, NAME))) if found else None
        known = manifests[folder]
        entry = entry_of(known[0], path) if known else None
        if known and entry and storage.size(path) == entry.size and storage.modified_ns(path) <= known[1]:
            yield Listed(known[0], entry)
        else:
            yield None


def counts_of(files: Sequence[Listed | None]) -> tuple[int, ...] | None:
    """How many records each file holds; None unless every file is listed."""
    known = [one for one in files if one is not None]
    return tuple(one.entry.examples for one in known) if len(known) == len(files) else None


def largest_label(files: Sequence[Listed | None]) -> tuple[int, str] | None:
    """The largest label in the files, and the name of its class; None if no manifest says a label of one of them."""
    found = [
        (label, name)
        for one in files
        if one is not None and one.entry.labelled
        for label, name in enumerate(one.manifest.class_names)
        if one.entry.classes.get(name)
    ]
    return max(found, default=None)
