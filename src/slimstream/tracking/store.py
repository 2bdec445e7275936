"""MLflow's store. All code opens it here, so that its errors become UserErrors in plain words.

A store is a server or a database; `tracking.address` says which.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any

from slimstream.core.environment import restored_environment
from slimstream.core.errors import UserError
from slimstream.core.paths import Paths
from slimstream.tracking import view
from slimstream.tracking.address import LOGIN, login, tracking_uri
from slimstream.tracking.database import ARTIFACTS, EXPERIMENT, database, relocate_artifacts
from slimstream.tracking.errors import explain_mlflow_errors, explain_sqlite_errors, without_password


class Client:
    """MLflow's client; every call that fails raises a UserError in plain words."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._client, name)
        if not callable(found):
            return found

        @wraps(found)
        def plainly(*arguments: Any, **keywords: Any) -> Any:
            with explain_mlflow_errors(self._client.tracking_uri):
                return found(*arguments, **keywords)

        return plainly


def connect(paths: Paths, uri: str | None = None) -> Client:
    """An `MlflowClient` on the store `uri`, by default that of `tracking_uri`; raises as `open_store` does.

    The login of the checkout's own server is put into this process's environment, where MLflow's client and
    child processes read it. Several stores are asked one after another, each within `own_login`.
    """
    uri = uri or tracking_uri(paths)
    os.environ.update(login(paths, uri))
    return open_store(uri)


@contextmanager
def own_login() -> Iterator[None]:
    """Restore the login in the environment after the block: no other store gets that of the block."""
    with restored_environment(LOGIN):
        yield


def open_store(uri: str) -> Client:
    """An `MlflowClient` on the store `uri`.

    A database file is locked while it is opened: if two processes open an empty one, both try to create its
    tables and one fails. Raises Unavailable when the server does not answer, and UserError for other errors.
    """
    for name, value in {
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DO_NOT_TRACK": "true",
        "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
        "MLFLOW_DISABLE_AGENT_HINT": "true",
        "MLFLOW_LOGGING_LEVEL": "ERROR",
        "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
        "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
        # By default MLflow retries every call for minutes; here metrics wait in the buffer instead.
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
        "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
    }.items():
        os.environ.setdefault(name, value)
    file = database(uri)
    if file:
        if file.is_symlink() and not file.exists():  # MLflow would try for minutes to open it
            raise UserError(f"{file} is a link to {file.readlink()}, which is not there; mend or remove it.")
        with _locked(file):  # the client's constructor opens the store
            with explain_sqlite_errors(file):  # MLflow would retry a broken file for minutes
                relocate_artifacts(file)
            return _client(uri)
    return _client(uri)


def experiment_id(client: Any) -> str:
    """The id of the project's experiment, which is created and described when missing.

    With a database file, artifacts are stored beside it. Raises UserError when the experiment was deleted:
    MLflow accepts no run in it, and no new experiment of its name.
    """
    found = client.get_experiment_by_name(EXPERIMENT)
    if found is None:
        file = database(client.tracking_uri)
        place = (file.parent.resolve() / ARTIFACTS).as_uri() if file else None
        try:
            client.create_experiment(EXPERIMENT, artifact_location=place)
        except UserError:
            if client.get_experiment_by_name(EXPERIMENT) is None:  # else another process was faster
                raise
        found = client.get_experiment_by_name(EXPERIMENT)
    number = str(found.experiment_id)
    if found.lifecycle_stage == "deleted":
        store = without_password(client.tracking_uri)
        raise UserError(
            f"MLflow's experiment {EXPERIMENT!r} was deleted; "
            f'`MLFLOW_TRACKING_URI="{store}" mlflow experiments restore -x {number}` brings it back.'
        )
    for name, value in view.tags(number).items():
        if name not in found.tags:  # what somebody wrote in MLflow's UI stays
            client.set_experiment_tag(number, name, value)
    return number


def _client(uri: str) -> Client:
    import mlflow

    with explain_mlflow_errors(uri):
        client = mlflow.MlflowClient(tracking_uri=uri, registry_uri=uri)
        client.get_experiment_by_name(EXPERIMENT)
        return Client(client)


@contextmanager
def _locked(file: Path) -> Iterator[None]:
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.with_name(file.name + "-lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
