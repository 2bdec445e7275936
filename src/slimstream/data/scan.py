"""Look at the source and write down what is there: `source.lock.json`, on which the ingest stage depends.

A scan that finds nothing new leaves the file as it is, byte for byte, so that nothing runs again.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from slimstream.atomic import whole
from slimstream.data.listing import Item, Listing, Stat
from slimstream.data.manifest import clip_id
from slimstream.data.sources import normalise, open_source
from slimstream.errors import UserError
from slimstream.params import Params
from slimstream.paths import Paths


@dataclass(frozen=True)
class Lock:
    """What source.lock.json holds: the source, its listing, and the keys that were in a test part before."""

    source: str
    listing: Listing
    held_out: frozenset[str] = frozenset()


@dataclass(frozen=True)
class ScanResult:
    """What a scan found, compared with the scan before; all lists hold keys, sorted."""

    source: str
    clips: int
    new: list[str]
    changed: list[str]
    removed: list[str]
    rejected: dict[str, str]
    skipped: Mapping[str, int]
    """How many files of each kind are no clips, the most frequent first."""
    differs: bool
    items: list[Item]

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
        if count := sum(self.skipped.values()):
            kinds = [f"{many} {kind}" for kind, many in self.skipped.items()]
            kinds = [*kinds[:8], f"{len(kinds) - 8} more kinds"] if len(kinds) > 9 else kinds
            lines.append(f"  {count} file{'s' * (count > 1)} skipped: {', '.join(kinds)}")
        return "\n".join(lines)


def scan(params: Params, paths: Paths, source: str | None = None, write: bool = True) -> ScanResult:
    """List `source` (or params.ingest.source) and update source.lock.json when something is not as it was.

    Without `write` only the result says so.
    """
    uri = normalise(source or params.ingest.source)
    listing = open_source(params.ingest, uri, paths.source_root).list()
    old = read_lock(paths.source_lock) if paths.source_lock.exists() else None
    known = {item.key: item for item in old.listing.items} if old and old.source == uri else {}
    found = {item.key: item for item in listing.items}
    differs = old is None or old.source != uri or old.listing != listing
    if differs and write:
        held_out: set[str] = set()
        if old and old.source == uri:
            tested = _tested(paths)
            held_out = {key for key in found if key in old.held_out or clip_id(key) in tested}
        _write_lock(Lock(uri, listing, frozenset(held_out)), paths.source_lock)
    return ScanResult(
        source=uri,
        clips=len(found),
        new=[key for key in found if key not in known],
        changed=[key for key in found if key in known and found[key] != known[key]],
        removed=sorted(known.keys() - found.keys()),
        rejected=listing.rejected,
        skipped=listing.skipped,
        differs=differs,
        items=listing.items,
    )


def read_lock(path: Path) -> Lock:
    """Read source.lock.json. Raises UserError when it is missing or broken."""
    try:
        return parse_lock(path.read_text(encoding="utf-8"), str(path))
    except FileNotFoundError as error:
        raise UserError(f"{path} is missing: run `python -m slimstream scan` first.") from error


def parse_lock(text: str, name: str) -> Lock:
    """The lock that `text` is. Raises UserError, calling it `name`, when it is broken."""
    try:
        content = json.loads(text)
        items = [_item(entry) for entry in content["items"]]
        rejected = {entry["key"]: entry["reason"] for entry in content["rejected"]}
        held_out = frozenset(entry["key"] for entry in content["items"] if entry.get("held_out"))
        return Lock(content["source"], Listing(items, rejected), held_out)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{name} cannot be read (a merge gone wrong?): delete it and scan again.") from error


def _write_lock(lock: Lock, path: Path) -> None:
    content = {
        "source": lock.source,
        "classes": sorted({item.label for item in lock.listing.items}),
        "items": [_entry(item, item.key in lock.held_out) for item in lock.listing.items],
        "rejected": [{"key": key, "reason": reason} for key, reason in lock.listing.rejected.items()],
    }
    with whole(path) as half:
        half.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _entry(item: Item, held_out: bool) -> dict[str, Any]:
    entry: dict[str, Any] = {"key": item.key, "label": item.label, "size": item.stat.size}
    entry |= {"etag": item.stat.etag} if item.stat.etag else {"mtime_ns": item.stat.mtime_ns}
    entry |= {"held_out": True} if held_out else {}
    return entry | {"groups": dict(item.groups)}


def _item(entry: dict[str, Any]) -> Item:
    if ".." in PurePosixPath(entry["key"]).parts:  # a scan lists none
        raise ValueError("a key that leaves the source")
    stat = Stat(entry["size"], entry.get("etag", ""), entry.get("mtime_ns", 0))
    return Item(entry["key"], entry["label"], stat, entry.get("groups", {}))


def _tested(paths: Paths) -> frozenset[str]:
    """Ids of the clips in the test part of the last split."""
    if paths.split.is_file():
        import pandas as pd

        table = pd.read_parquet(paths.split, columns=["id", "part"])
        return frozenset(table.loc[table["part"] == "test", "id"])
    lock = paths.root / "dvc.lock"
    name = paths.split.relative_to(paths.root).as_posix()
    if lock.is_file() and any(out.get("path") == name for out in _outs(lock)):
        raise UserError(
            f"{paths.split} is missing, so the scan cannot tell which clips must stay in the test part: "
            f"run `dvc checkout {name}` (or `dvc pull {name}`) first."
        )
    return frozenset()


def _outs(lock: Path) -> list[dict[str, Any]]:
    from ruamel.yaml import YAML

    stages = (YAML(typ="safe").load(lock.read_text(encoding="utf-8")) or {}).get("stages", {})
    return [out for stage in stages.values() for out in stage.get("outs", [])]
