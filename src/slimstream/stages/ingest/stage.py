"""ingest: fetch the clips that source.lock.json lists, read their headers, write the manifest.

A clip that cannot be fetched or opened becomes a row with a `problem`; the others are not affected.
"""

import shutil
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from pathlib import Path, PurePosixPath
from typing import Any

from slimstream.catalog.listing import Item
from slimstream.catalog.manifest import clip_id, write_manifest
from slimstream.clips.video import probe
from slimstream.core.errors import UserError
from slimstream.core.media import UnreadableVideo
from slimstream.core.paths import Paths
from slimstream.core.progress import Log, progress_bar
from slimstream.stages.ingest.labelled import with_labelled
from slimstream.stages.ingest.params import IngestParams
from slimstream.stages.ingest.reserved_folders import check_ingested
from slimstream.stages.ingest.scan import read_lock
from slimstream.stages.ingest.sources import FetchError, Source, normalise, open_source
from slimstream.stages.ingest.store import Store, Stored, explain_os_errors, link


def run(ingest: IngestParams, paths: Paths, log: Log) -> dict[str, float]:
    """Fill data/ingested and write data/manifest.parquet; returns clips, bytes, fetched, reused and problems.

    Raises UserError when source.lock.json does not belong to the settings.
    """
    lock = read_lock(paths.source_lock)
    source = with_labelled(open_source(ingest, lock.source, paths), lock.source, ingest, paths)
    outdated = source.outdated(lock.listing) or lock.columns != ingest.columns
    if lock.source != normalise(ingest.source) or outdated:
        raise UserError(
            f"{paths.source_lock} lists '{lock.source}' as it was, not what {paths.params} asks for: "
            "run `python -m slimstream scan`, or set ingest.source back."
        )
    check_ingested(paths)
    store = Store(paths.store)
    with explain_os_errors(paths.ingested):
        if paths.ingested.is_symlink():  # the folder that it points to is kept
            paths.ingested.unlink()
        elif paths.ingested.exists():
            shutil.rmtree(paths.ingested)
        paths.ingested.mkdir(parents=True)
    rows: list[dict[str, Any]] = [
        {"id": clip_id(key), "key": key, "problem": reason} for key, reason in lock.listing.rejected.items()
    ]
    fetched = 0
    try:
        for item, stored, reused in _fetch_all(source, store, lock.listing.items):
            row: dict[str, Any] = {**item.groups, "id": clip_id(item.key), "key": item.key}
            row |= {"label": item.label, "held_out": item.key in lock.held_out}
            if isinstance(stored, Stored):
                row |= _link_clip(stored, f"{row['id']}{stored.path.suffix}", paths.ingested)
                row["held_out"] |= stored.sha256 in lock.memory.sha256
                fetched += not reused
            else:
                row["problem"] = stored
            rows.append(row)
    finally:
        store.close()
    with explain_os_errors(paths.manifest):
        write_manifest(rows, paths.manifest)
    good = [row for row in rows if not row["problem"]]
    there = [row for row in rows if "sha256" in row]
    return {
        "clips": float(len(good)),
        "bytes": float(sum(row["bytes"] for row in there)),
        "fetched": float(fetched),
        "reused": float(len(there) - fetched),
        "problems": float(len(rows) - len(good)),
    }


def _fetch_all(source: Source, store: Store, items: list[Item]) -> Iterator[tuple[Item, Stored | str, bool]]:
    """Yield every item with its clip in the store (or why there is none) and whether it was there before.

    Clips are remembered as they come, also those that come after an error: the next run does not fetch them.
    """

    def fetch(item: Item) -> Stored | str:
        try:
            return store.put(lambda target: source.fetch(item.key, item.stat, target), _suffix(item))
        except FetchError as error:
            return str(error)

    wanted = []
    for item in items:
        if stored := store.get(source.name, item.key, item.stat, _suffix(item)):
            yield item, stored, True
        else:
            wanted.append(item)
    if not wanted:
        return
    pool = ThreadPoolExecutor(source.workers)
    coming = {pool.submit(fetch, item): item for item in wanted}

    def take(future: Future[Stored | str]) -> tuple[Item, Stored | str, bool]:
        item, outcome = coming.pop(future), future.result()
        if isinstance(outcome, Stored):
            store.remember(source.name, item.key, item.stat, outcome)
        return item, outcome, False

    try:
        for future in progress_bar(as_completed(list(coming)), "ingest", len(wanted)):
            yield take(future)
    finally:
        pool.shutdown(cancel_futures=True)
        for future in [one for one in coming if not one.cancelled() and not one.exception()]:
            take(future)


def _suffix(item: Item) -> str:
    return PurePosixPath(item.key).suffix.lower()


def _link_clip(stored: Stored, name: str, raw: Path) -> dict[str, Any]:
    link(stored, raw / name)
    row: dict[str, Any] = {"path": name, "sha256": stored.sha256, "bytes": stored.bytes, "problem": ""}
    try:
        info = probe(raw / name)
    except UnreadableVideo as error:
        return row | {"problem": str(error)}
    return row | {
        "frames": info.frames,
        "fps": info.fps,
        "width": info.width,
        "height": info.height,
        "seconds": info.seconds,
        "codec": info.codec,
        "interlaced": info.interlaced,
    }
