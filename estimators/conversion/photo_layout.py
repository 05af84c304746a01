"""From the names in a folder or .zip to photos and their classes. Pure.

Three layouts are known, each also inside one more folder, as in an unpacked archive:

    cats/a.jpg dogs/b.jpg …       one folder per class; a class folder may hold folders
    cat.0.jpg dog.1.jpg …         the class in front of a number
    1.jpg 2.jpg 10.jpg …          no classes: a test set

A camera's names may look like the second (photo.1.jpg); who has photos without classes can say so.
Class names are sorted; a class's label is its place. Photos are in their natural order: 2.jpg before 10.jpg.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from estimators.errors import DataError, UserError, first_of

# Kinds that cannot be converted are here too, so that they are reported and not passed over.
PICTURE_SUFFIXES = frozenset(
    (".jpg .jpeg .jpe .jfif .png .webp .bmp .gif " + ".tif .tiff .heic .heif .avif .jp2 .ppm").split()
)
_WITH_CLASS = re.compile(r"(?P<class_name>.+)\.\d+\.[^.]+")
_SPLIT_NAMES = re.compile(r"(train|val|valid|validation|test)(ing)?\d*", re.IGNORECASE)
_TEST_SET = re.compile(r"test(ing)?\d*", re.IGNORECASE)


@dataclass(frozen=True)
class Photo:
    """One picture file.

    Attributes:
      name: its path in the folder or .zip.
      image_id: its id in the record, the file's name.
      label: its class's place in `class_names`; None where there are no classes.
    """

    name: str
    image_id: str
    label: int | None


@dataclass(frozen=True)
class Layout:
    """What a folder or .zip consists of.

    Attributes:
      class_names: sorted; empty where there are no classes.
      photos: in the natural order of their ids; no two share an id.
      passed_over: files that are no pictures by their names.
    """

    class_names: tuple[str, ...]
    photos: tuple[Photo, ...]
    passed_over: tuple[str, ...]


def natural_order(text: str) -> tuple[list[str | int], str]:
    """A key that sorts 2.jpg before 10.jpg."""
    # Every second part is a number, so that numbers are only compared with numbers.
    parts = re.split(r"(\d+)", text)
    return [int(part) if place % 2 else part for place, part in enumerate(parts)], text


def read_layout(names: Sequence[str], asked: str, *, unlabelled: bool = False) -> Layout:
    """Finds out which layout this is.

    Args:
      names: of files, and of folders with a final `/`, relative to --input.
      asked: --input and its value, for error messages.
      unlabelled: the photos have no classes, whatever the names look like; they may lie in any folders.

    Raises:
      UserError: there is no picture, only one class, or a layout that is not known.
      DataError: two pictures have the same id.
    """
    visible = [name for name in names if not _is_hidden(name)]
    files = [name for name in visible if not name.endswith("/")]
    pictures = [name for name in files if _is_picture(name)]
    if not pictures:
        packed = [name for name in files if name.lower().endswith(".zip")]
        hint = f"unpack it, and give --input what you want of it, such as {packed[0]}" if packed else ""
        raise _refused("There is no picture to convert", asked, _shown(files, "it holds no file"), hint)
    class_of = {} if unlabelled else _classes(visible, pictures, asked)
    class_names = sorted(set(class_of.values()))
    if len(class_names) == 1:
        raise _one_class(class_names[0], asked)
    labels = {name: label for label, name in enumerate(class_names)}
    photos = [Photo(name, name.rpartition("/")[2], labels[class_of[name]] if class_of else None) for name in pictures]
    photos.sort(key=lambda photo: natural_order(photo.image_id))
    _check_ids(photos, asked)
    pictures_set = set(pictures)
    return Layout(tuple(class_names), tuple(photos), tuple(name for name in files if name not in pictures_set))


def _classes(visible: Sequence[str], pictures: Sequence[str], asked: str) -> dict[str, str]:
    """Name -> class; empty for photos without classes."""
    base = _base(visible, pictures, asked)
    inner = [name[len(base) :] for name in pictures]
    loose = [name for name in inner if "/" not in name]
    if loose and len(loose) < len(inner):
        nested = next(name for name in inner if "/" in name)
        raise _refused("Pictures lie both in folders and beside them", asked, f"{loose[0]} and {nested}, for example")
    class_of = _classes_of_names(loose, asked) if loose else _classes_of_folders(visible, inner, base, asked)
    return {base + name: class_name for name, class_name in class_of.items()}


def _is_hidden(name: str) -> bool:
    parts = name.rstrip("/").split("/")
    junk = parts[-1].lower() in ("thumbs.db", "desktop.ini")
    return junk or any(part.startswith(".") or part == "__MACOSX" for part in parts)


def _is_picture(name: str) -> bool:
    stem, dot, suffix = name.rpartition("/")[2].rpartition(".")
    return bool(stem) and dot + suffix.lower() in PICTURE_SUFFIXES


def _base(visible: Sequence[str], pictures: Sequence[str], asked: str) -> str:
    """The folder, `""` or with a final `/`, below which the layout begins: one that holds all else is passed through.

    Raises:
      UserError: that folder holds photos without classes, which makes it one class, not a test set.
    """
    base = ""
    while True:
        tops = {name[len(base) :].partition("/")[0] for name in visible if "/" in name[len(base) :]}
        if len(tops) != 1 or any("/" not in name[len(base) :] for name in pictures):
            return base
        (top,) = tops
        base += f"{top}/"
        inner = [name[len(base) :] for name in pictures]
        if all("/" not in name for name in inner):
            if _TEST_SET.fullmatch(top) or any(_WITH_CLASS.fullmatch(name) for name in inner):
                return base
            raise _one_class(top, asked)


def _classes_of_names(loose: Sequence[str], asked: str) -> dict[str, str]:
    """Name -> class; empty for photos without classes."""
    found = {name: match["class_name"] for name in loose if (match := _WITH_CLASS.fullmatch(name))}
    others = [name for name in loose if name not in found]
    if found and others:
        raise _refused(
            "Some pictures have a class in their names and some have none",
            asked,
            f"{len(found)} such as {next(iter(found))}, {len(others)} such as {others[0]}",
        )
    return found


def _classes_of_folders(visible: Sequence[str], inner: Sequence[str], base: str, asked: str) -> dict[str, str]:
    """Name -> class, for pictures that all lie in folders."""
    class_of = {name: name.partition("/")[0] for name in inner}
    classes = set(class_of.values())
    folders = {name[len(base) :].partition("/")[0] for name in visible if "/" in name[len(base) :]}
    if empty := sorted(folders - classes):
        raise _refused("A class folder holds no picture", asked, _shown(empty, ""))
    if all(_SPLIT_NAMES.fullmatch(name) for name in classes):
        raise _refused(
            "The folders are splits, not classes",
            asked,
            _shown(sorted(classes), ""),
            "give --input one of them at a time",
        )
    return class_of


def _check_ids(photos: Sequence[Photo], asked: str) -> None:
    first: dict[str, str] = {}
    clashes = []
    for photo in photos:
        if photo.image_id in first:
            clashes.append(f"{first[photo.image_id]} and {photo.name}")
        first.setdefault(photo.image_id, photo.name)
    if clashes:
        more = f"; {len(clashes) - 1} more like that" if len(clashes) > 1 else ""
        raise DataError(
            "Two pictures have the same id",
            asked=asked,
            found=f"{clashes[0]}; the id is the file's name{more}",
            change="rename one of them; in that folder this puts its class in front of each: "
            'for f in */*; do mv "$f" "${f%/*}/${f%/*}_${f##*/}"; done',
        )


def _shown(names: Sequence[str], nothing: str) -> str:
    if not names:
        return nothing
    return f"{len(names)}: {first_of(names)}"


def _one_class(name: str, asked: str) -> UserError:
    return _refused(
        "There is only one class",
        asked,
        f"{name}, and no other",
        "give --input a folder with at least two classes; or, if the photos have none, --unlabelled, which makes a "
        "test set of them whatever they are called",
    )


def _refused(summary: str, asked: str, found: str, change: str = "") -> UserError:
    known = (
        "give --input one folder per class (cats/ dogs/), or names such as cat.0.jpg dog.1.jpg, or photos without "
        "classes (with --unlabelled they may have any names)"
    )
    return UserError(summary, asked=asked, found=found, change=change or known)
