"""Which MLflow store a checkout uses. All code asks here, so that there are never two by accident.

It is the first of these: the store of `MLFLOW_TRACKING_URI`; the server of this checkout, where `make up` was
called; `mlflow.db` in the project's root, which needs no server. `SLIMSTREAM_TRACKING=local` leaves out the
server of the checkout; `SLIMSTREAM_TRACKING=off` records nothing.
"""

import os
from pathlib import Path

from slimstream.core.errors import UserError
from slimstream.core.paths import Paths
from slimstream.tracking.database import database, sqlite_uri
from slimstream.tracking.servers import servers_of

URI = "MLFLOW_TRACKING_URI"
LOGIN = ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD")
SWITCH = "SLIMSTREAM_TRACKING"


def tracking_off() -> bool:
    """Whether SLIMSTREAM_TRACKING turns tracking off."""
    return _switch() in {"off", "0", "false"}


def found_servers(paths: Paths) -> dict[str, str]:
    """Addresses and logins of the checkout's own servers, as environment variables (`tracking.servers`).

    Empty where `make up` was never called, or where the environment chooses another store.
    """
    return {} if os.environ.get(URI) or _switch() == "local" else servers_of(paths.root)


def tracking_uri(paths: Paths) -> str:
    """The URI of the store in use."""
    return os.environ.get(URI) or found_servers(paths).get(URI) or own_uri(paths)


def login(paths: Paths, uri: str) -> dict[str, str]:
    """User and password of the store `uri` as environment variables, if it is the checkout's own server."""
    servers = {} if database(uri) else servers_of(paths.root)
    return {name: servers[name] for name in LOGIN} if servers.get(URI) == uri else {}


def own_uri(paths: Paths) -> str:
    """The URI of the database in the project's root."""
    return sqlite_uri(own_database(paths))


def own_database(paths: Paths) -> Path:
    """The database in the project's root."""
    return paths.root.resolve() / "mlflow.db"


def stores(paths: Paths) -> list[str]:
    """URIs of all stores that may hold versions of this checkout: the one in use first.

    The database in the root, and the server of `make up`, are among them also while they are not in use.
    """
    return _existing(tracking_uri(paths), servers_of(paths.root).get(URI), own_uri(paths))


def readable_stores(paths: Paths) -> tuple[list[str], list[str]]:
    """`stores` without the server of `make up` where its files are incomplete, and messages that say so.

    Raises UserError when that server is the store in use.
    """
    try:
        return stores(paths), []
    except UserError as error:
        return _existing(tracking_uri(paths), own_uri(paths)), [str(error)]


def _existing(*uris: str | None) -> list[str]:
    """The `uris` without repetitions and without databases that are not there."""
    known = dict.fromkeys(filter(None, uris))
    return [uri for uri in known if (file := database(uri)) is None or file.exists()]


def store_sentence(paths: Paths) -> str:
    """One sentence about the store in use, if it is the server of this checkout; otherwise empty."""
    if tracking_off() or not (uri := found_servers(paths).get(URI)):
        return ""
    own = own_database(paths)
    other = f" ({own.name} of this folder is not used; {SWITCH}=local uses it)" if own.exists() else ""
    return f"MLflow is {uri}, the server of `make up`{other}."


def _switch() -> str:
    return os.environ.get(SWITCH, "").lower()
