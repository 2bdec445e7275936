"""List the source and write the list to `source.lock.json`, a dependency of the stage ingest.

A scan that finds no change leaves the file byte for byte as it is, so that no stage runs again.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from slimstream.catalog.listing import FileStat, Item, Listing
from slimstream.catalog.manifest import clip_id
from slimstream.core.errors import UserError
from slimstream.core.files import atomic_write
from slimstream.core.paths import Paths
from slimstream.stages.ingest.held_out import HeldOut, last_split
from slimstream.stages.ingest.labelled import WithLabelled, with_labelled
from slimstream.stages.ingest.name_columns import with_name_columns
from slimstream.stages.ingest.new_states import NOTHING, Needs, without_few
from slimstream.stages.ingest.params import IngestParams
from slimstream.stages.ingest.reserved_folders import check_ingested
from slimstream.stages.ingest.sources import normalise, open_source

HeldOutLookup = Callable[[], tuple[HeldOut, list[str]]]


@dataclass(frozen=True)
class Lock:
    """Content of source.lock.json: the source, its listing, and the clips that were in a test part before."""

    source: str
    listing: Listing
    held_out: frozenset[str] = frozenset()
    """Keys of listed clips that are test by their name or by their group, whatever their content is now."""
    memory: HeldOut = field(default_factory=HeldOut)
    """Test clips and groups of this and of earlier sources, by content."""
    columns: str | None = None
    """Value of ingest.columns that the listing was made with."""


@dataclass(frozen=True)
class ScanResult:
    """Result of a scan, compared with the previous scan; all lists hold sorted keys."""

    source: str
    clips: int
    new: list[str]
    changed: list[str]
    removed: list[str]
    rejected: dict[str, str]
    skipped: Mapping[str, int]
    """Number of files of each kind that are not clips, the most frequent kind first."""
    differs: bool
    notes: list[str]
    """Messages about clips that were test before, one line each."""
    items: list[Item]
    inbox: list[str] = field(default_factory=list)
    """Sentences about states that were named in the inbox and that no clip of the source has."""

    def __str__(self) -> str:
        parts = [f"{self.source}: {self.clips} clips"]
        parts += [
            f"{len(keys)} {word}" for word in ("new", "changed", "removed") if (keys := getattr(self, word))
        ]
        if not self.differs:
            parts.append("nothing new")
        lines = [", ".join(parts)]
        lines += [f"  rejected {key}: {reason}" for key, reason in list(self.rejected.items())[:10]]
        if len(self.rejected) > 10:
            lines.append(f"  … and {len(self.rejected) - 10} more, see source.lock.json")
        lines += [f"  {note}" for note in self.notes]
        if count := sum(self.skipped.values()):
            kinds = [f"{many} {kind}" for kind, many in self.skipped.items()]
            kinds = [*kinds[:8], f"{len(kinds) - 8} more kinds"] if len(kinds) > 9 else kinds
            lines.append(f"  {count} file{'s' * (count > 1)} skipped: {', '.join(kinds)}")
        return "\n".join(lines)


def scan(
    ingest: IngestParams,
    group_by: list[str],
    paths: Paths,
    source: str | None = None,
    write: bool = True,
    ask: HeldOutLookup | None = None,
    needs: Needs = NOTHING,
    split_differs: bool = False,
) -> ScanResult:
    """List `source` (or ingest.source) and update source.lock.json when something has changed.

    The clips of ingest.labelled join those of ingest.source, and of no other source. A state that only these
    have joins with as many clips and groups as it `needs`.

    `group_by` is split.group_by: clips of groups that were test stay test. Without `write` the file is not
    written. `ask` is called when the lock or the last split is missing: it returns further clips and groups
    known to have been in a test part, and messages about them. `split_differs`: the settings of `split` are
    no longer those of the last one, whose test clips are then recorded, too. Raises UserError when the source
    cannot be listed.
    """
    uri = normalise(source or ingest.source)
    source_ = open_source(ingest, uri, paths)
    check_ingested(paths)
    listing = with_name_columns(source_.list(), ingest.columns)
    both = with_labelled(source_, uri, ingest, paths, group_by)
    old = read_lock(paths.source_lock) if paths.source_lock.exists() else None
    known = {item.key: item for item in old.listing.items} if old and old.source == uri else {}
    inbox: list[str] = []
    if uri == normalise(ingest.source) and isinstance(both, WithLabelled):
        labels = {item.label for item in known.values()}

        def tested() -> HeldOut:
            return last_split(paths).held_out | (old.memory if old else HeldOut())

        listing, inbox = without_few(both.join(listing), labels, needs, group_by, tested)
    found = {item.key: item for item in listing.items}
    differs = old is None or old.source != uri or old.listing != listing or old.columns != ingest.columns
    notes: list[str] = []
    if (differs or split_differs) and write:
        held_out, memory, notes = _mark_held_out(group_by, paths, uri, found, old, ask)
        lock = Lock(uri, listing, held_out, memory, ingest.columns)
        if split_differs and old and (more := memory.sha256 - old.memory.sha256):
            notes.append(f"the settings of split have changed: {len(more)} test clips of before stay test.")
        if lock != old:
            _write_lock(lock, paths.source_lock)
    return ScanResult(
        source=uri,
        clips=len(found),
        new=[key for key in found if key not in known],
        changed=[key for key in found if key in known and found[key] != known[key]],
        removed=sorted(known.keys() - found.keys()),
        rejected=listing.rejected,
        skipped=listing.skipped,
        differs=differs,
        notes=notes,
        items=listing.items,
        inbox=inbox,
    )


def _mark_held_out(
    group_by: list[str],
    paths: Paths,
    uri: str,
    found: Mapping[str, Item],
    old: Lock | None,
    ask: HeldOutLookup | None,
) -> tuple[frozenset[str], HeldOut, list[str]]:
    """Keys that stay test by name or group, everything that was ever test, and messages about it."""
    last = last_split(paths)
    asked, notes = ask() if ask and (old is None or not last.tested) else (HeldOut(), [])
    flagged = {key: clip_id(key) for key in (old.held_out if old else ())}
    contents = frozenset(last.contents[i] for i in flagged.values() if i in last.contents)
    memory = HeldOut(contents) | last.held_out | asked | (old.memory if old else HeldOut())

    # A clip with known content is found by it in any source; a name is meaningful in the same source only.
    unknown = last.unknown | (set(flagged.values()) - last.contents.keys())
    by_name = unknown if old and old.source != uri else last.tested | set(flagged.values())
    held_out = frozenset(
        key
        for key, item in found.items()
        if clip_id(key) in by_name or memory.has_group(item.groups, group_by)
    )
    lost = len(unknown - {clip_id(key) for key in found}) if old is None or old.source != uri else 0
    if lost:
        notes.append(
            f"{lost} earlier test clips are known by their names alone and were not found under them: "
            "if they are here under others, they may be learnt from now."
        )
    columns = {tuple(sorted(column for column, _ in group)) for group in memory.groups}
    if columns and tuple(sorted(group_by)) not in columns:
        before = " or ".join(", ".join(names) for names in sorted(columns))
        notes.append(
            f"earlier test parts were whole groups of {before}, and split.group_by is now "
            f"{', '.join(group_by) or 'empty'}: their clips stay test, new clips of these groups need not."
        )
    if memory and (old is None or old.source != uri):
        notes.append(f"{len(memory.sha256)} clips of earlier test parts are known by content and stay test.")
    elif not (memory or last.tested or notes) and _ran_before(paths, old):
        notes.append(
            "this is not the first run here, and nothing tells who was in a test part before: such clips may "
            "be learnt from now."
        )
    return held_out, memory, notes


def _ran_before(paths: Paths, old: Lock | None) -> bool:
    fetched = paths.store.is_relative_to(paths.root) and paths.store.exists()
    return bool(paths.trained_models()) or (old is None and fetched)


def read_lock(path: Path) -> Lock:
    """Read source.lock.json. Raises UserError when it is missing or broken."""
    try:
        return parse_lock(path.read_text(encoding="utf-8"), str(path))
    except FileNotFoundError as error:
        raise UserError(f"{path} is missing: run `python -m slimstream scan` first.") from error


def parse_lock(text: str, name: str) -> Lock:
    """Parse `text` as a lock. Raises UserError, which calls the file `name`, when it is broken."""
    try:
        content = json.loads(text)
        items = [_item(entry) for entry in content["items"]]
        rejected = {entry["key"]: entry["reason"] for entry in content["rejected"]}
        held_out = frozenset(entry["key"] for entry in content["items"] if entry.get("held_out"))
        memory = HeldOut.from_json(content["held_out"]) if "held_out" in content else HeldOut()
        return Lock(content["source"], Listing(items, rejected), held_out, memory, content.get("columns"))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{name} cannot be read (a merge gone wrong?): take one of its versions from git, or delete it "
            "and scan again, which asks the last split and the registry who must stay test."
        ) from error


def _write_lock(lock: Lock, path: Path) -> None:
    content: dict[str, Any] = {
        "source": lock.source,
        "classes": sorted({item.label for item in lock.listing.items}),
        "items": [_entry(item, item.key in lock.held_out) for item in lock.listing.items],
        "rejected": [{"key": key, "reason": reason} for key, reason in lock.listing.rejected.items()],
    }
    content |= {"columns": lock.columns} if lock.columns else {}
    content |= {"held_out": lock.memory.to_json()} if lock.memory else {}
    with atomic_write(path) as half:
        half.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _entry(item: Item, held_out: bool) -> dict[str, Any]:
    entry: dict[str, Any] = {"key": item.key, "label": item.label, "size": item.stat.size}
    entry |= {"etag": item.stat.etag} if item.stat.etag else {"mtime_ns": item.stat.mtime_ns}
    entry |= {"held_out": True} if held_out else {}
    return entry | {"groups": dict(item.groups)}


def _item(entry: dict[str, Any]) -> Item:
    if ".." in PurePosixPath(entry["key"]).parts:  # a scan never lists one
        raise ValueError("a key that leaves the source")
    stat = FileStat(entry["size"], entry.get("etag", ""), entry.get("mtime_ns", 0))
    return Item(entry["key"], entry["label"], stat, entry.get("groups", {}))
