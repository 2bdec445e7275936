"""From the names in a source to labelled items: a folder per class, or a metadata.csv. Knows no file system.

What is wrong with the whole is a UserError; what is wrong with one item is put aside in `rejected`.
"""

import csv
import io
import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from slimstream.data.manifest import RESERVED
from slimstream.data.media import PICTURES, VIDEOS, is_picture
from slimstream.errors import UserError

METADATA = "metadata.csv"


@dataclass(frozen=True)
class Stat:
    """What a source tells of a file without opening it."""

    size: int
    etag: str = ""
    mtime_ns: int = 0
    fault: str = ""
    """Why the file must not be used."""


@dataclass(frozen=True)
class Item:
    """A labelled clip in a source; `key` is its POSIX path there, `groups` what else is told of it."""

    key: str
    label: str
    stat: Stat
    groups: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Listing:
    """Items and rejected keys with their reason, both sorted by key."""

    items: list[Item]
    rejected: dict[str, str]


def arrange(files: Mapping[str, Stat], metadata: bytes | None, source: str) -> Listing:
    """Label `files` (key → what is known) by `metadata`, or by their first folder when there is none."""
    table = f"{source}/{METADATA}"
    listing = _by_folder(files) if metadata is None else _by_metadata(files, metadata, table)
    if not listing.items:
        told = next((f"; {key}: {reason}" for key, reason in listing.rejected.items()), "")
        raise UserError(f"{source}: no clip can be used{told} (wanted: a folder per class, or a {METADATA}).")
    _one_kind([item.key for item in listing.items], source)
    return Listing(sorted(listing.items, key=lambda item: item.key), dict(sorted(listing.rejected.items())))


def _one_kind(keys: list[str], source: str) -> None:
    """Videos or pictures, never both: whether a picture among videos is a clip or a thumbnail, only a user
    can say."""
    pictures = [key for key in keys if is_picture(key)]
    videos = [key for key in keys if not is_picture(key)]
    if pictures and videos:
        raise UserError(
            f"{source} holds {len(videos)} videos (such as {videos[0]}) and {len(pictures)} pictures "
            f"(such as {pictures[0]}), and a data set is of one kind: name one kind in a {METADATA}."
        )


def _by_folder(files: Mapping[str, Stat]) -> Listing:
    items, rejected = [], {}
    for key, stat in files.items():
        parts = PurePosixPath(key).parts
        if stat.fault or ".." in parts:
            rejected[key] = stat.fault or "the path leaves the source"
        elif key.startswith("/"):  # a bucket knows no root
            rejected[key] = "an absolute path, not one in the source"
        elif PurePosixPath(key).suffix.lower() not in VIDEOS | PICTURES:
            continue  # notes and the like lie beside clips
        elif len(parts) < 2:
            rejected[key] = "lies in no class folder"
        else:
            items.append(Item(key, parts[0], stat))
    return Listing(items, rejected)


def _by_metadata(files: Mapping[str, Stat], metadata: bytes, name: str) -> Listing:
    listed: dict[str, list[Item]] = defaultdict(list)
    rejected: dict[str, str] = {}
    header, lines = _read(metadata, name)
    for line, cells in lines:
        row = dict(zip(header, cells + [""] * len(header), strict=False))
        path, label = row.pop("path"), row.pop("label")
        key = str(PurePosixPath(path)) if path else f"{METADATA}:{line}"
        stat = files.get(key)
        if reason := _fault(path, label, stat):
            rejected[key] = reason
        elif len(cells) > len(header):
            rejected[key] = "more fields than the header has"
        elif stat is not None and (item := Item(key, label, stat, row)) not in listed[key]:
            listed[key].append(item)
    for key, rivals in listed.items():
        labels = sorted({item.label for item in rivals})
        if len(labels) > 1:
            rejected[key] = f"listed with different labels: {', '.join(labels)}"
        elif len(rivals) > 1:
            rejected[key] = "listed twice with different columns"
    return Listing([rivals[0] for key, rivals in listed.items() if key not in rejected], rejected)


def _fault(path: str, label: str, stat: Stat | None) -> str:
    if not path:
        return "the path is empty"
    if "://" in path:
        return "a URL, not a path in the source"
    if path.startswith("/") or re.match(r"[A-Za-z]:|\\", path):
        return "an absolute path, not one in the source"
    if ".." in re.split(r"[/\\]", path):
        return "the path leaves the source"
    if not label:
        return "the label is empty"
    if stat is None:
        return "no such file in the source"
    if stat.fault:
        return stat.fault
    if PurePosixPath(path).suffix.lower() not in VIDEOS | PICTURES:
        return "not the name of a video or picture"
    return ""


def _read(metadata: bytes, name: str) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """The header, and (line number, cells) for every row that is not blank; all stripped."""
    try:
        text = metadata.decode("utf-8-sig")  # Excel puts a byte order mark in front
    except UnicodeDecodeError as error:
        raise UserError(f"{name} is not UTF-8 text: save it as CSV UTF-8.") from error
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = [column.strip() for column in next(reader, [])]
        _check(header, name)
        rows = [(reader.line_num, [cell.strip() for cell in row]) for row in reader]
    except csv.Error as error:
        raise UserError(f"{name}, line {reader.line_num}: {error}.") from error
    return header, [(line, row) for line, row in rows if any(row)]


def _check(header: list[str], name: str) -> None:
    if missing := [column for column in ("path", "label") if column not in header]:
        found = ", ".join(header) or "nothing"
        raise UserError(f"{name} lacks the column {' and '.join(missing)}; its first line has: {found}.")
    if "" in header or len(set(header)) < len(header):
        raise UserError(f"{name}: a column has no name or one that is there twice; give each its own.")
    if clash := sorted(set(header) & (RESERVED - {"path", "label"})):
        raise UserError(f"{name}: the manifest itself uses the column name {', '.join(clash)}; rename it.")
