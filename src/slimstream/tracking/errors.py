"""Turns errors of MLflow's client and of its database into one plain sentence."""

import re
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

from slimstream.core.errors import Unavailable, UserError
from slimstream.tracking.database import database


@contextmanager
def explain_mlflow_errors(uri: str) -> Iterator[None]:
    """Turn errors of MLflow's client for the store `uri` into one sentence.

    Raises Unavailable for a server that does not answer or is busy, UserError for all other errors.
    """
    from boto3.exceptions import Boto3Error
    from botocore.exceptions import BotoCoreError, ClientError
    from mlflow.exceptions import MlflowException
    from requests import RequestException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (
        MlflowException,
        RequestException,
        SQLAlchemyError,
        Boto3Error,
        BotoCoreError,
        ClientError,
    ) as error:
        raise explain_error(error, uri) from error


def explain_error(error: Exception, uri: str) -> UserError:
    """A UserError with the cause of `error`, raised by a client of the store `uri`, and with what to do."""
    from botocore.exceptions import HTTPClientError

    if isinstance(error, UserError):
        return error
    if isinstance(error, HTTPClientError):  # S3, where MLflow's files lie there without its server between
        return Unavailable(f"The files of MLflow cannot be reached ({_first_line(error).removesuffix('.')}).")
    message, file = _first_line(error), database(uri)
    if old := re.search(r"out-of-date database schema \(found version (\w+)", message):
        return _version_error(old[1], uri)
    if file:
        return _database_error(message, file)
    server, status = f"MLflow at {without_password(uri)}", _status(error)
    if status is None and "filesystem tracking backend" in message:
        return UserError(
            f"MLFLOW_TRACKING_URI is {without_password(uri)!r}, a folder to MLflow, which takes none any "
            "more; name a server (http://host:port) or a database (sqlite:////folder/mlflow.db)."
        )
    if status is None:
        return UserError(f"{server}: {message}.")
    if status == 0:
        return Unavailable(
            f"{server} does not answer; start it (`make up`), or name another store with "
            f"MLFLOW_TRACKING_URI or SLIMSTREAM_TRACKING=local ({_innermost_cause(message)})."
        )
    if status == 401:
        return UserError(
            f"{server} refuses the login; mend MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD."
        )
    if status == 403:
        return UserError(
            f"{server} does not allow that; ask for the permission ({_innermost_cause(message)})."
        )
    if "ENDPOINT_NOT_FOUND" in message or "error code 404" in message or "valid JSON" in message:
        return UserError(
            f"At {without_password(uri)} is something else than MLflow; mend MLFLOW_TRACKING_URI."
        )
    if status >= 500 or status == 429:
        return Unavailable(f"{server} is busy or out of order ({_innermost_cause(message)}).")
    return UserError(f"{server} refuses: {message}")


def without_password(uri: str) -> str:
    """`uri` without a password."""
    return re.sub("//[^/@ ]*@", "//", uri)


@contextmanager
def explain_sqlite_errors(file: Path) -> Iterator[None]:
    """Turn SQLite's errors for `file` into a UserError; Unavailable while another program locks it."""
    try:
        yield
    except sqlite3.Error as error:
        raise _database_error(str(error), file) from error


def _database_error(message: str, file: Path) -> UserError:
    if "is locked" in message:
        return Unavailable(f"{file} is held by another program; try again when that has ended.")
    for words, meaning in {
        "not a database|malformed|file is encrypted": "is damaged; put a backup there, or move it away to "
        "begin with an empty registry",
        "readonly|unable to open": "cannot be opened and written; give permission there",
        "is full": "has no room on its disk; make some",
    }.items():
        if re.search(words, message):
            return UserError(f"{file} {meaning}.")
    return UserError(f"MLflow refuses, of {file}: {message}")


def _version_error(schema: str, uri: str) -> UserError:
    import mlflow
    from mlflow.store import db_migrations

    versions = Path(db_migrations.__file__).parent / "versions"
    where = database(uri) or without_password(uri)
    if any(versions.glob(f"{schema}_*.py")):
        return UserError(
            f"{where} was written by an older MLflow; copy it, then "
            f"`mlflow db upgrade '{without_password(uri)}'`."
        )
    return UserError(
        f"{where} was written by a newer MLflow than the {mlflow.__version__} that is installed; "
        "use the environment that wrote it."
    )


def _first_line(error: Exception) -> str:
    """The first line of the message, without passwords."""
    return without_password(str(error).strip().partition("\n")[0]).removesuffix(".")


def _innermost_cause(message: str) -> str:
    """The last part of a chain of messages, which is the innermost cause."""
    return message.rpartition(": ")[2].strip("\"') ")[:200]


def _status(error: Exception) -> int | None:
    """The HTTP status of a server's answer; 0 without an answer; None when no server is involved."""
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
