"""A content-addressed store of clips, `<first two of sha256>/<sha256><suffix>`, with an index of origins.

DVC does not track it, so a clip is fetched once even if DVC empties the stage's output. Its files are
read-only and shared with data/ingested by hard links; a file that was changed nevertheless is detected and
fetched again.
"""

import contextlib
import hashlib
import os
import re
import shutil
import sqlite3
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from slimstream.catalog.listing import FileStat
from slimstream.core.errors import UserError

_INDEX = """CREATE TABLE IF NOT EXISTS fetched (
    source TEXT, key TEXT, size INTEGER, version TEXT, sha256 TEXT, bytes INTEGER, mtime_ns INTEGER,
    PRIMARY KEY (source, key, size, version))"""


@dataclass(frozen=True)
class Stored:
    """A clip in the store."""

    path: Path
    sha256: str
    bytes: int


class Store:
    """A store below `root`, which is created when missing. Threads and processes may `put` concurrently."""

    def __init__(self, root: Path) -> None:
        self.root = root
        with explain_os_errors(root):
            (root / "tmp").mkdir(parents=True, exist_ok=True)
            for left in (root / "tmp").iterdir():  # left by a run that was killed
                if not re.fullmatch("[0-9a-f]{32}", left.stem):  # SLIMSTREAM_CACHE may name any folder
                    continue
                with contextlib.suppress(FileNotFoundError):
                    if time.time() - left.stat().st_mtime > 86_400:
                        left.unlink()
            self._index = sqlite3.connect(root / "index.db", timeout=60)
            # One commit per item: with thousands of pictures, waiting for the disk each time is too slow.
            self._index.execute("PRAGMA journal_mode = WAL")
            self._index.execute("PRAGMA synchronous = NORMAL")
            self._index.execute(_INDEX)

    def get(self, source: str, key: str, stat: FileStat, suffix: str) -> Stored | None:
        """The clip fetched before for this version of the item; None when it is missing or was changed."""
        row = self._index.execute(
            """SELECT sha256, bytes, mtime_ns FROM fetched
            WHERE source = ? AND key = ? AND size = ? AND version = ?""",
            (source, key, stat.size, _version(stat)),
        ).fetchone()
        if row is None:
            return None
        sha256, size, mtime_ns = row
        path = self._path(sha256, suffix)
        try:
            now = path.stat()
        except FileNotFoundError:
            return None
        if (now.st_size, now.st_mtime_ns) != (size, mtime_ns) and _sha256(path) != sha256:
            path.unlink()  # somebody wrote through a hard link
            return None
        return Stored(path, sha256, size)

    def put(self, fetch: Callable[[Path], object], suffix: str) -> Stored:
        """Let `fetch(target)` write a file and store it under its hash.

        Passes on exceptions of `fetch`; OSError becomes UserError.
        """
        temporary = self.root / "tmp" / f"{uuid.uuid4().hex}{suffix}"
        try:
            with explain_os_errors(self.root):
                fetch(temporary)
                sha256 = _sha256(temporary)
                path = self._path(sha256, suffix)
                path.parent.mkdir(exist_ok=True)
                temporary.chmod(0o444)
                temporary.replace(path)
                return Stored(path, sha256, path.stat().st_size)
        finally:
            temporary.unlink(missing_ok=True)

    def remember(self, source: str, key: str, stat: FileStat, stored: Stored) -> None:
        """Record that this version of this item is `stored`."""
        mtime_ns = stored.path.stat().st_mtime_ns
        with explain_os_errors(self.root), self._index:
            self._index.execute(
                "INSERT OR REPLACE INTO fetched VALUES (?, ?, ?, ?, ?, ?, ?)",
                (source, key, stat.size, _version(stat), stored.sha256, stored.bytes, mtime_ns),
            )

    def unnamed(self, named: Iterable[tuple[str, FileStat]], before: float) -> list[Path]:
        """Clips fetched before the time `before` (seconds since the epoch) that belong to none of `named`.

        `named` are items as (key, listed state).
        """
        wanted = {(key, stat.size, _version(stat)) for key, stat in named}
        rows = self._index.execute("SELECT key, size, version, sha256 FROM fetched").fetchall()
        kept = {sha256 for *item, sha256 in rows if tuple(item) in wanted}
        ours = (file for file in self.root.glob("??/*") if re.fullmatch("[0-9a-f]{64}", file.stem))
        clips = (file for file in ours if file.stem not in kept)
        return sorted(file for file in clips if file.stat().st_mtime < before)

    def forget(self, clips: Iterable[Path]) -> None:
        """Delete clips from the store; if a later scan lists them, they are fetched again."""
        with explain_os_errors(self.root), self._index:
            for file in clips:
                self._index.execute("DELETE FROM fetched WHERE sha256 = ?", (file.stem,))
                file.unlink(missing_ok=True)

    def close(self) -> None:
        self._index.close()

    def _path(self, sha256: str, suffix: str) -> Path:
        return self.root / sha256[:2] / f"{sha256}{suffix}"


def link(stored: Stored, target: Path) -> None:
    """Create `target` as a hard link to the clip, or as a copy where hard links do not work."""
    with explain_os_errors(target):
        try:
            os.link(stored.path, target)
        except FileExistsError:
            raise
        except OSError:
            shutil.copyfile(stored.path, target)


@contextmanager
def explain_os_errors(path: Path) -> Iterator[None]:
    """Turn an OSError or an sqlite3 error into a UserError of one sentence that names the path."""
    try:
        yield
    except OSError as error:
        raise UserError(
            f"{error.filename or path}: {error.strerror}; make room or give permission there."
        ) from error
    except sqlite3.Error as error:
        raise UserError(
            f"{path / 'index.db'}: {error}; make room, or delete it to fetch all anew."
        ) from error


def _version(stat: FileStat) -> str:
    """The ETag or the modification time: with the size it identifies a version of an item."""
    return stat.etag or str(stat.mtime_ns)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
