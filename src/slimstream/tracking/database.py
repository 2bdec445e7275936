"""A store that is a database: `mlflow.db` in the project's root with its files in `mlartifacts/` beside it.

MLflow writes absolute places into that database. Here it follows its folder.
"""

import logging
import sqlite3
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

EXPERIMENT = "slimstream"
ARTIFACTS = "mlartifacts"
PATH_COLUMNS = {
    "experiments": ("artifact_location",),
    "runs": ("artifact_uri",),
    "model_versions": ("source", "storage_location"),
    "logged_models": ("artifact_location",),
}
"""Where MLflow's database names places of files."""
LOCKED = 20.0
"""Seconds that another program may hold the database."""

_log = logging.getLogger(__name__)


def sqlite_uri(file: Path, driver: str = "") -> str:
    """The URI by which MLflow, or with `driver` aiosqlite Prefect, opens the database `file` of any path."""
    if "?" in str(file):  # would begin the options; without a driver MLflow makes a folder `file:`
        return f"sqlite+{driver or 'pysqlite'}:///file:{quote(str(file))}?uri=true"
    return f"sqlite{'+' if driver else ''}{driver}:///{file}"


def database(uri: str) -> Path | None:
    """The file of an embedded store, None for a server."""
    _, found, path = uri.partition(":///")
    if not found or not uri.startswith("sqlite"):
        return None
    if path.startswith("file:"):
        return Path(unquote(path.removeprefix("file:").partition("?")[0]))
    return Path(path.partition("?")[0])


def relocate_artifacts(file: Path) -> None:
    """When the database was moved or copied together with its files, let it name those beside it.

    A moved one names places that are gone. A copy names, and would write into, the files of the first.
    """
    ours = file.parent.resolve() / ARTIFACTS
    if not file.exists():
        return
    connection = sqlite3.connect(file, timeout=LOCKED)
    try:
        if not connection.execute("SELECT name FROM sqlite_master WHERE name = 'experiments'").fetchone():
            return
        named = "SELECT artifact_location FROM experiments WHERE name = ?"
        row = connection.execute(named, (EXPERIMENT,)).fetchone()
        theirs = _local_folder(row[0]) if row else None
        # What somebody else put elsewhere on purpose is not named so.
        if theirs is None or theirs.name != ARTIFACTS or not ours.is_dir() or _same(theirs, ours):
            return
        with connection:
            changed = _rewrite_paths(connection, theirs.parent, ours.parent)
    finally:
        connection.close()
    _log.warning(
        "%s came here from %s: %d places of files in it now name this folder.", file, theirs.parent, changed
    )


def _rewrite_paths(connection: sqlite3.Connection, old: Path, new: Path) -> int:
    """Let all places below `old` be below `new`, as URIs and as plain paths; returns how many there were."""
    changed = 0
    for table, columns in PATH_COLUMNS.items():
        known = {row[1] for row in connection.execute(f"PRAGMA table_info({table})")}
        for column in known.intersection(columns):
            for before, after in ((f"{old.as_uri()}/", f"{new.as_uri()}/"), (f"{old}/", f"{new}/")):
                update = (
                    f"UPDATE {table} SET {column} = ? || substr({column}, ?) WHERE substr({column}, 1, ?) = ?"
                )
                values = (after, len(before) + 1, len(before), before)
                changed += connection.execute(update, values).rowcount
    return changed


def _local_folder(place: str) -> Path | None:
    """The folder that a place names on this machine, None when it is elsewhere."""
    if place.startswith("file:"):
        return Path(unquote(urlsplit(place).path))
    return Path(place) if place.startswith("/") else None


def _same(one: Path, other: Path) -> bool:
    return one == other or (one.exists() and one.samefile(other))
