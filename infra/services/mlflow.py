"""The MLflow server: with basic auth, restricted host names, no pickle, one process."""

import os
import subprocess
import sys
from collections.abc import Mapping
from importlib.metadata import version

from infra.services import postgres
from infra.services.settings import HOST, Home, Settings, storage, write
from slimstream.core.errors import UserError
from slimstream.tracking.database import sqlite_uri


def command(settings: Settings) -> list[str]:
    """Command that starts the server."""
    port = settings.mlflow_port
    names = [HOST, "localhost"]
    return [
        *(sys.executable, "-m", "mlflow", "server", "--app-name", "basic-auth", "--workers", "1"),
        *("--host", HOST, "--port", str(port)),
        # Against DNS rebinding: the first refuses requests with other host names, the second other origins.
        *("--allowed-hosts", ",".join(f"{name}:{port}" for name in names)),
        *("--cors-allowed-origins", ",".join(f"http://{name}:{port}" for name in names)),
        *("--uvicorn-opts", "--log-level warning --no-access-log"),
    ]


def environment(home: Home, settings: Settings, secrets: Mapping[str, str]) -> dict[str, str]:
    """Environment of the server. Passwords are here and not in the command, which all users can see."""
    return {
        "MLFLOW_BACKEND_STORE_URI": _database(home, settings, secrets, "mlflow"),
        "MLFLOW_ARTIFACTS_DESTINATION": settings.artifacts or (home.folder / "mlartifacts").as_uri(),
        "MLFLOW_AUTH_CONFIG_PATH": str(home.folder / "mlflow-auth.ini"),
        "MLFLOW_AUTH_ADMIN_USERNAME": secrets["MLFLOW_TRACKING_USERNAME"],
        "MLFLOW_AUTH_ADMIN_PASSWORD": secrets["MLFLOW_TRACKING_PASSWORD"],
        "MLFLOW_FLASK_SERVER_SECRET_KEY": secrets["MLFLOW_FLASK_SERVER_SECRET_KEY"],
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        **storage(secrets),
    }


def login(secrets: Mapping[str, str]) -> tuple[str, str]:
    """User and password of the server."""
    return secrets["MLFLOW_TRACKING_USERNAME"], secrets["MLFLOW_TRACKING_PASSWORD"]


def prepare(home: Home, settings: Settings, secrets: Mapping[str, str]) -> None:
    """Write the server's settings, and update its databases if MLflow or secrets.env has changed.

    The server refuses a database of an older version, and reads the admin's password at its first start only.
    Raises UserError when that fails, and when the bucket for artifacts cannot be used, which the server would
    report with the first model only.
    """
    if settings.artifacts:
        _check_artifacts(settings, secrets)
    users = _database(home, settings, secrets, "mlflow_auth").replace("%", "%%")  # escaped for an .ini file
    write(home.folder / "mlflow-auth.ini", _AUTH.format(users))
    seen = home.folder / "mlflow.seen"
    now = f"{version('mlflow')} {home.secrets.stat().st_mtime_ns}"
    if seen.exists() and seen.read_text() != now:
        answer = subprocess.run(
            [sys.executable, "-c", _CATCH_UP],
            env={**os.environ, **environment(home, settings, secrets)},
            cwd=home.folder,
            capture_output=True,
            text=True,
        )
        if answer.returncode:
            said = answer.stderr.strip().splitlines() or ["it did not say why"]
            raise UserError(f"MLflow's database could not be upgraded: {said[-1]}")
    seen.write_text(now)


def _check_artifacts(settings: Settings, secrets: Mapping[str, str]) -> None:
    known = {**os.environ, **storage(secrets), "PYTHONPATH": os.pathsep.join(sys.path)}
    look = [sys.executable, "-c", _LOOK, settings.artifacts]
    answer = subprocess.run(look, env=known, capture_output=True, text=True)
    if answer.returncode == UserError.status:  # a server that does not answer (status 3) may come back
        raise UserError(f"MLflow cannot keep its files in {answer.stderr.strip().splitlines()[-1]}")


def _database(home: Home, settings: Settings, secrets: Mapping[str, str], name: str) -> str:
    if settings.database == "postgres":
        return postgres.url(settings, secrets["POSTGRES_PASSWORD"], name)
    return sqlite_uri(home.folder / f"{name}.db")


_AUTH = """\
# Written by `make up`.
[mlflow]
default_permission = READ
database_uri = {}
authorization_function = mlflow.server.auth:authenticate_request_basic_auth
# Checking a password takes tens of milliseconds on purpose, and a training logs every two seconds.
auth_cache_ttl_seconds = 60
"""
_LOOK = """
import sys
from slimstream.stages.ingest import s3
from slimstream.core.errors import UserError
s3.PATIENCE = 1
try:
    s3.S3Source(sys.argv[1]).check()
except UserError as error:
    print(error, file=sys.stderr)
    sys.exit(error.status)
"""
_CATCH_UP = """
import os
from mlflow.store.db.utils import _upgrade_db, create_sqlalchemy_engine
engine = create_sqlalchemy_engine(os.environ["MLFLOW_BACKEND_STORE_URI"])
_upgrade_db(engine)
from mlflow.server.auth import auth_config, store
store.init_db(auth_config.database_uri)
name, password = os.environ["MLFLOW_AUTH_ADMIN_USERNAME"], os.environ["MLFLOW_AUTH_ADMIN_PASSWORD"]
if store.has_user(name):
    store.update_user(name, password=password)
"""
