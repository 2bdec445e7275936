"""What MLflow's client or its database says, in one plain sentence."""

import re
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

from slimstream.core.errors import Unavailable, UserError
from slimstream.tracking.database import database


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


@contextmanager
def plain_words_of_database(file: Path) -> Iterator[None]:
    """Say in one sentence what SQLite says of `file`. Raises Unavailable while another program holds it."""
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
