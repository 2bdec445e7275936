"""Label the files of a source by their class folders or by a metadata.csv. Only names are read, no files.

A mistake that concerns the whole source raises UserError. A file that cannot be used goes to `rejected` with
a reason. Files that are not clips are only counted, in `skipped`. Names are compared in their normal form
(`slimstream.catalog.names`), but a key keeps the exact file name, because the file is fetched by it.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from slimstream.catalog.hidden_files import hidden_part
from slimstream.catalog.metadata import read_metadata
from slimstream.catalog.names import normal_form
from slimstream.catalog.part_names import GIVEN_COLUMN, part_named
from slimstream.core.errors import UserError
from slimstream.core.media import PICTURES, VIDEOS, is_picture

METADATA = "metadata.csv"
LABELLED = ".labelled/"
"""Begins the keys of clips that were labelled in `watch`. In a source, names that begin with a dot are never
clips."""


@dataclass(frozen=True)
class FileStat:
    """Facts about a file that a source knows without opening it. `size` is in bytes."""

    size: int
    etag: str = ""
    mtime_ns: int = 0
    fault: str = ""
    """Why the file must not be used; "" when it may."""


@dataclass(frozen=True)
class Item:
    """A labelled clip. `key` is its POSIX path in the source, `groups` its values in the group columns."""

    key: str
    label: str
    stat: FileStat
    groups: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Listing:
    """The result of listing a source: items, and rejected keys with a reason. Both are sorted by key."""

    items: list[Item]
    rejected: dict[str, str]
    skipped: Mapping[str, int] = field(default_factory=dict, compare=False)
    """Kind of file (a suffix, or words) → number of files that are not clips. Not part of the comparison."""


def find_metadata(files: Iterable[str], source: str) -> str | None:
    """Return the key of the metadata.csv among `files`, or None. Case is ignored.

    Raises UserError when several files differ only in case and none is called exactly `metadata.csv`.
    """
    found = [key for key in files if normal_form(key).casefold() == METADATA]
    if METADATA in found or not found:
        return METADATA if found else None
    if len(found) > 1:
        raise UserError(f"{source} holds {' and '.join(sorted(found))}: name the right one {METADATA}.")
    return found[0]


def label_files(
    files: Mapping[str, FileStat], metadata: bytes | None, source: str, whole: bool = True
) -> Listing:
    """Label `files` (key → stat) by `metadata`, or by their folders when `metadata` is None.

    `whole`: they are a data set, and not what is added to one. Then UserError is raised when no clip can be
    used, and when videos and pictures are mixed.
    """
    left = {key: stat for key, stat in files.items() if not hidden_part(PurePosixPath(key))}
    system = {hidden_part(PurePosixPath(key)) for key in files.keys() - left.keys()}
    if metadata is None:
        listing = _by_folder(left, source)
    else:
        listing = _by_metadata(left, metadata, f"{source}/{METADATA}")
    if whole and not listing.items:
        example = next((f"; {key}: {reason}" for key, reason in listing.rejected.items()), "")
        raise UserError(
            f"{source}: no clip can be used{example} (wanted: a folder per class, or a {METADATA})."
        )
    if whole:
        _check_one_kind([item.key for item in listing.items], source)
    skipped = Counter(listing.skipped) + Counter({"hidden or system": len(system)})
    return Listing(
        sorted(listing.items, key=lambda item: item.key),
        dict(sorted(listing.rejected.items())),
        dict(sorted(skipped.items(), key=lambda kind: (-kind[1], kind[0]))),
    )


def _check_one_kind(keys: list[str], source: str) -> None:
    """Raise UserError for a mix of videos and pictures.

    A picture among videos may be a clip or a thumbnail; only the user knows.
    """
    pictures = [key for key in keys if is_picture(key)]
    videos = [key for key in keys if not is_picture(key)]
    if pictures and videos:
        raise UserError(
            f"{source} holds {len(videos)} videos (such as {videos[0]}) and {len(pictures)} pictures "
            f"(such as {pictures[0]}), and a data set is of one kind: name one kind in a {METADATA}."
        )


def _suffix(key: str) -> str:
    return PurePosixPath(key).suffix.lower()


def _is_clip(key: str) -> bool:
    return _suffix(key) in VIDEOS | PICTURES


def _by_folder(files: Mapping[str, FileStat], source: str) -> Listing:
    clips, rejected, skipped = {}, {}, Counter[str]()
    for key, stat in files.items():
        parts = PurePosixPath(key).parts
        if stat.fault or ".." in parts:
            rejected[key] = stat.fault or "the path leaves the source"
        elif key.startswith("/"):  # keys of a bucket may start with a slash
            rejected[key] = "an absolute path, not one in the source"
        elif not _is_clip(key):
            skipped[_suffix(key) or "without suffix"] += 1
        elif len(parts) < 2:
            rejected[key] = "lies in no class folder"
        else:
            clips[key] = parts
    level = _split_level(list(clips.values()), source)
    items = []
    for key, parts in clips.items():
        groups = {} if level is None else {GIVEN_COLUMN: part_named(parts[level]) or ""}
        label = normal_form(parts[1] if level == 0 else parts[0])
        if level == 0 and len(parts) < 3:
            rejected[key] = "lies in no class folder"
        elif not label:
            rejected[key] = "the name of its class folder cannot be seen"
        else:
            items.append(Item(key, label, files[key], groups))
    return Listing(items, rejected, skipped)


def _split_level(clips: list[tuple[str, ...]], source: str) -> int | None:
    """Return the folder level (0 or 1) that names the part of a given split, or None without a given split.

    0 means `train/<class>/…`, `test/<class>/…`; 1 means `<class>/train/…`. Raises UserError for an ambiguous
    folder structure.
    """
    mend = f"Say which clip is of which class in a {METADATA} (path, label, and a column for the split)."
    tops = {parts[0] for parts in clips}
    named = sorted(top for top in tops if part_named(top))
    others = sorted(tops - {*named})
    direct = all(len(parts) == 2 for parts in clips)
    if named and others and direct and not any(part_named(top) == "train" for top in named):
        return None  # e.g. classes `valid` and `invalid`: without a train part it is no split
    if named and others:
        raise UserError(
            f"{source}: the folders {_first_names(named)} are called like parts of a split and "
            f"{_first_names(others)} are not, so they may be parts or classes. "
            f"Put the others elsewhere if they are parts. {mend}"
        )
    if named and direct:
        raise UserError(
            f"{source}: the folders {_first_names(named)} are called like parts of a split and hold clips, "
            f"not folders of classes: they may be classes, or parts without classes. {mend}"
        )
    if named:
        return 0
    below = [parts for parts in clips if len(parts) > 2 and part_named(parts[1])]
    if not any(part_named(parts[1]) == "train" for parts in below):
        return None
    if len(below) < len(clips):
        other = next(parts for parts in clips if parts not in below)
        raise UserError(
            f"{source}: {'/'.join(below[0][:2])} is called like a part of a split, but {'/'.join(other)} "
            f"lies in none. {mend}"
        )
    if any(len(parts) > 3 for parts in below):
        one = f"Give {source}/{below[0][0]} as the source if classes lie below. " if len(tops) == 1 else ""
        raise UserError(
            f"{source}: {'/'.join(below[0][:2])} is called like a part of a split, with a folder above and "
            f"folders below it, and either may be the class. {one}{mend}"
        )
    return 1


def _first_names(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _by_metadata(files: Mapping[str, FileStat], metadata: bytes, name: str) -> Listing:
    listed: dict[str, list[Item]] = defaultdict(list)
    rejected: dict[str, str] = {}
    by_name = _PathIndex(files)
    header, lines = read_metadata(metadata, name)
    for line, cells in lines:
        row = dict(zip(header, cells + [""] * len(header), strict=False))
        path, label = row.pop("path"), normal_form(row.pop("label"))
        key, reason = by_name.find(path) if path else (f"{METADATA}:{line}", "the path is empty")
        reason = reason or _rejection(key, label, files[key])
        if not reason and len(cells) > len(header):
            reason = "more fields than the header has"
        if reason:
            rejected[key] = reason
            continue
        item = Item(key, label, files[key], {column: normal_form(value) for column, value in row.items()})
        if item not in listed[key]:
            listed[key].append(item)
    for key, rivals in listed.items():
        labels = sorted({item.label for item in rivals})
        if len(labels) > 1:
            rejected[key] = f"listed with different labels: {', '.join(labels)}"
        elif len(rivals) > 1:
            rejected[key] = "listed twice with different columns"
    skipped = Counter(
        f"{_suffix(key) or 'without suffix'}{f' not in {METADATA}' * _is_clip(key)}"
        for key in files.keys() - listed.keys() - rejected.keys()
        if normal_form(key).casefold() != METADATA
    )
    items = [rivals[0] for key, rivals in listed.items() if key not in rejected]
    return Listing(items, rejected, skipped)


class _PathIndex:
    """Finds the file that a path in metadata.csv refers to."""

    def __init__(self, files: Iterable[str]) -> None:
        self.files = set(files)
        self.normal: dict[str, list[str]] = defaultdict(list)
        self.folded: dict[str, list[str]] = defaultdict(list)
        for key in sorted(self.files):
            self.normal[normal_form(key)].append(key)
            self.folded[normal_form(key).casefold()].append(key)

    def find(self, path: str) -> tuple[str, str]:
        """Return the key for `path` and "", or a key and the reason why no file can be used."""
        plain = str(PurePosixPath(path))
        if reason := _outside_source(path):
            return plain, reason
        slashes = str(PurePosixPath(path.replace("\\", "/")))  # as Windows writes it
        for way in (path, plain, slashes):
            if way in self.files:
                return way, ""
        for way in (plain, slashes):
            if found := self.normal.get(normal_form(way)):
                rivals = f"the names of several files look like it: {', '.join(map(ascii, found))}"
                return (found[0], "") if len(found) == 1 else (plain, rivals)
        if hidden_part(PurePosixPath(slashes)):
            return plain, "a hidden or system file, which is never a clip"
        if found := self.folded.get(normal_form(slashes).casefold()):
            return plain, f"no such file in the source; there is {found[0]}"
        return plain, "no such file in the source"


def _outside_source(path: str) -> str:
    if "://" in path:
        return "a URL, not a path in the source"
    if path.startswith("/") or re.match(r"[A-Za-z]:|\\", path):
        return "an absolute path, not one in the source"
    if ".." in re.split(r"[/\\]", path):
        return "the path leaves the source"
    return ""


def _rejection(key: str, label: str, stat: FileStat) -> str:
    if not label:
        return "the label is empty"
    if stat.fault:
        return stat.fault
    return "" if _is_clip(key) else "not the name of a video or picture"
