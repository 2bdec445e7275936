"""A store in a database file: `mlflow.db` in the project's root, with artifacts in `mlartifacts/` beside it.

MLflow writes absolute paths into the database. This module corrects them when the folder was moved.
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
"""Tables and columns of MLflow's database that hold paths of files."""
LOCKED = 20.0
"""Seconds to wait while another program locks the database."""

_log = logging.getLogger(__name__)


def sqlite_uri(file: Path, driver: str = "") -> str:
    """The URI of the database `file` for MLflow or, with `driver` "aiosqlite", for Prefect."""
    if "?" in str(file):  # "?" begins the options; without a driver MLflow creates a folder `file:`
        return f"sqlite+{driver or 'pysqlite'}:///file:{quote(str(file))}?uri=true"
    return f"sqlite{'+' if driver else ''}{driver}:///{file}"


def database(uri: str) -> Path | None:
    """The file of a store in a database file; None for a server."""
    _, found, path = uri.partition(":///")
    if not found or not uri.startswith("sqlite"):
        return None
    if path.startswith("file:"):
        return Path(unquote(path.removeprefix("file:").partition("?")[0]))
    return Path(path.partition("?")[0])


def relocate_artifacts(file: Path) -> None:
    """If the database was moved or copied together with its artifacts, change its paths to those beside it.

    After a move its paths do not exist any more. After a copy they are those of the original, which the copy
    would write into.
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
        # Artifacts that the user stores elsewhere on purpose have another folder name.
        if theirs is None or theirs.name != ARTIFACTS or not ours.is_dir() or _same(theirs, ours):
            return
        with connection:
            changed = _rewrite_paths(connection, theirs.parent, ours.parent)
    finally:
        connection.close()
    _log.warning(
        "%s was moved here from %s: %d paths in it were changed to this folder.", file, theirs.parent, changed
    )


def _rewrite_paths(connection: sqlite3.Connection, old: Path, new: Path) -> int:
    """Replace `old` by `new` in all paths below it, as URIs and as plain paths; returns their number."""
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
    """The folder of a path or file: URI; None when it is not on this machine."""
    if place.startswith("file:"):
        return Path(unquote(urlsplit(place).path))
    return Path(place) if place.startswith("/") else None


def _same(one: Path, other: Path) -> bool:
    return one == other or (one.exists() and one.samefile(other))
