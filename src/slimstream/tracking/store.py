"""MLflow's store: opened here and nowhere else, and whatever is wrong with it said as what it is.

A store is a server (MLFLOW_TRACKING_URI) or a database, `mlflow.db` in the project's root with its files in
`mlartifacts/` beside it. MLflow writes absolute places into that database. Here it follows its folder.
"""

import fcntl
import logging
import os
import re
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote, unquote, urlsplit

from slimstream.core.errors import Unavailable, UserError

EXPERIMENT = "slimstream"
ARTIFACTS = "mlartifacts"
PLACES = {
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


class Client:
    """MLflow's client, of which every call that fails raises a UserError in plain words."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._client, name)
        if not callable(found):
            return found

        @wraps(found)
        def plainly(*arguments: Any, **keywords: Any) -> Any:
            with plain_words(self._client.tracking_uri):
                return found(*arguments, **keywords)

        return plainly


def open_store(uri: str) -> Client:
    """An `MlflowClient` on the store `uri`.

    Two processes that meet an empty database both try to build it, and one breaks: they take turns here.
    Raises Unavailable when the server is away, and UserError for what somebody has to mend.
    """
    for name, value in {
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DO_NOT_TRACK": "true",
        "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
        "MLFLOW_DISABLE_AGENT_HINT": "true",
        "MLFLOW_LOGGING_LEVEL": "ERROR",
        "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
        # MLflow's own patience is minutes for every call; ours is the buffer.
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
        "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
    }.items():
        os.environ.setdefault(name, value)
    file = database(uri)
    if file:
        if file.is_symlink() and not file.exists():  # MLflow would try for minutes to open it
            raise UserError(f"{file} is a link to {file.readlink()}, which is not there; mend or remove it.")
        with _first_come(file):  # already the client's constructor opens the store
            with _plain_words_of(file):  # MLflow would try for minutes to open what is none
                _follow_folder(file)
            return _client(uri)
    return _client(uri)


def experiment_id(client: Any) -> str:
    """The project's experiment, made when missing; an embedded store keeps artifacts beside its database.

    Raises UserError when somebody deleted the experiment: MLflow takes no run into it, and none of its name.
    """
    found = client.get_experiment_by_name(EXPERIMENT)
    if found is None:
        file = database(client.tracking_uri)
        place = (file.parent.resolve() / ARTIFACTS).as_uri() if file else None
        try:
            return str(client.create_experiment(EXPERIMENT, artifact_location=place))
        except UserError:
            found = client.get_experiment_by_name(EXPERIMENT)  # another process was faster
            if found is None:
                raise
    if found.lifecycle_stage == "deleted":
        number, store = found.experiment_id, shown(client.tracking_uri)
        raise UserError(
            f"MLflow's experiment {EXPERIMENT!r} was deleted; "
            f'`MLFLOW_TRACKING_URI="{store}" mlflow experiments restore -x {number}` brings it back.'
        )
    return str(found.experiment_id)


@contextmanager
def plain_words(uri: str) -> Iterator[None]:
    """Say in one sentence what MLflow's client says of the store `uri`.

    Raises Unavailable for a server that is away or busy, UserError for all else that MLflow refuses.
    """
    from botocore.exceptions import BotoCoreError, ClientError
    from mlflow.exceptions import MlflowException
    from requests import RequestException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (MlflowException, RequestException, SQLAlchemyError, BotoCoreError, ClientError) as error:
        raise explained(error, uri) from error


def explained(error: Exception, uri: str) -> UserError:
    """What `error`, of a client of the store `uri`, comes from and what to do about it."""
    if isinstance(error, UserError):
        return error
    said, file = _said(error), database(uri)
    if old := re.search(r"out-of-date database schema \(found version (\w+)", said):
        return _of_another_version(old[1], uri)
    if file:
        return _of_a_database(said, file)
    server, status = f"MLflow at {shown(uri)}", _status(error)
    if status is None and "filesystem tracking backend" in said:
        return UserError(
            f"MLFLOW_TRACKING_URI is {shown(uri)!r}, a folder to MLflow, which takes none any more; "
            "name a server (http://host:port) or a database (sqlite:////folder/mlflow.db)."
        )
    if status is None:
        return UserError(f"{server}: {said}.")
    if status == 0:
        return Unavailable(
            f"{server} does not answer; start it, or mend MLFLOW_TRACKING_URI ({_cause(said)})."
        )
    if status == 401:
        return UserError(
            f"{server} refuses the login; mend MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD."
        )
    if status == 403:
        return UserError(f"{server} does not allow that; ask for the permission ({_cause(said)}).")
    if "ENDPOINT_NOT_FOUND" in said or "error code 404" in said or "valid JSON" in said:
        return UserError(f"At {shown(uri)} is something else than MLflow; mend MLFLOW_TRACKING_URI.")
    if status >= 500 or status == 429:
        return Unavailable(f"{server} is busy or out of order ({_cause(said)}).")
    return UserError(f"{server} refuses: {said}")


def shown(uri: str) -> str:
    """`uri` without a password."""
    return re.sub("//[^/@ ]*@", "//", uri)


def _client(uri: str) -> Client:
    import mlflow

    with plain_words(uri):
        client = mlflow.MlflowClient(tracking_uri=uri, registry_uri=uri)
        client.get_experiment_by_name(EXPERIMENT)
        return Client(client)


@contextmanager
def _first_come(file: Path) -> Iterator[None]:
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.with_name(file.name + "-lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _follow_folder(file: Path) -> None:
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
        theirs = _local(row[0]) if row else None
        # What somebody else put elsewhere on purpose is not named so.
        if theirs is None or theirs.name != ARTIFACTS or not ours.is_dir() or _same(theirs, ours):
            return
        with connection:
            changed = _rewrite(connection, theirs.parent, ours.parent)
    finally:
        connection.close()
    _log.warning(
        "%s came here from %s: %d places of files in it now name this folder.", file, theirs.parent, changed
    )


def _rewrite(connection: sqlite3.Connection, old: Path, new: Path) -> int:
    """Let all places below `old` be below `new`, as URIs and as plain paths; returns how many there were."""
    changed = 0
    for table, columns in PLACES.items():
        known = {row[1] for row in connection.execute(f"PRAGMA table_info({table})")}
        for column in known.intersection(columns):
            for before, after in ((f"{old.as_uri()}/", f"{new.as_uri()}/"), (f"{old}/", f"{new}/")):
                update = (
                    f"UPDATE {table} SET {column} = ? || substr({column}, ?) WHERE substr({column}, 1, ?) = ?"
                )
                values = (after, len(before) + 1, len(before), before)
                changed += connection.execute(update, values).rowcount
    return changed


def _local(place: str) -> Path | None:
    """The folder that a place names on this machine, None when it is elsewhere."""
    if place.startswith("file:"):
        return Path(unquote(urlsplit(place).path))
    return Path(place) if place.startswith("/") else None


def _same(one: Path, other: Path) -> bool:
    return one == other or (one.exists() and one.samefile(other))


@contextmanager
def _plain_words_of(file: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise _of_a_database(str(error), file) from error


def _of_a_database(said: str, file: Path) -> UserError:
    if "is locked" in said:
        return Unavailable(f"{file} is held by another program; try again when that has ended.")
    for words, meaning in {
        "not a database|malformed|file is encrypted": "is damaged; put a backup there, or move it away to "
        "begin with an empty registry",
        "readonly|unable to open": "cannot be opened and written; give permission there",
        "is full": "has no room on its disk; make some",
    }.items():
        if re.search(words, said):
            return UserError(f"{file} {meaning}.")
    return UserError(f"MLflow refuses, of {file}: {said}")


def _of_another_version(schema: str, uri: str) -> UserError:
    import mlflow
    from mlflow.store import db_migrations

    versions = Path(db_migrations.__file__).parent / "versions"
    where = database(uri) or shown(uri)
    if any(versions.glob(f"{schema}_*.py")):
        return UserError(
            f"{where} was written by an older MLflow; copy it, then `mlflow db upgrade '{shown(uri)}'`."
        )
    return UserError(
        f"{where} was written by a newer MLflow than the {mlflow.__version__} that is installed; "
        "use the environment that wrote it."
    )


def _said(error: Exception) -> str:
    """The first line, with what MLflow itself quotes there of other programs; no password."""
    return shown(str(error).strip().partition("\n")[0]).removesuffix(".")


def _cause(said: str) -> str:
    """The last and innermost of what was said."""
    return said.rpartition(": ")[2].strip("\"') ")[:200]


def _status(error: Exception) -> int | None:
    """The HTTP status that a server answered with, 0 without an answer, None when it is about no server."""
    from mlflow.exceptions import MlflowException, RestException
    from requests import RequestException
    from sqlalchemy.exc import OperationalError

    answer = getattr(error, "response", None)
    if isinstance(error, RequestException):
        return int(answer.status_code) if answer is not None else 0
    if isinstance(error, OperationalError) or re.search(r"failed with (timeout )?exception", str(error)):
        refused = re.search(r"too many (\d{3}) error responses", str(error))
        return int(refused[1]) if refused else 0
    if told := re.search(r"API request .* failed with error code (\d{3})", str(error)):
        return int(told[1])
    if isinstance(error, RestException) or "valid JSON" in str(error):
        return int(cast(MlflowException, error).get_http_status_code())
    return None
