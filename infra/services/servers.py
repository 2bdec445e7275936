"""The servers that `make up` starts: command, environment and health check of each."""

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import httpx
import psutil

from infra.services import mlflow, postgres, process
from infra.services.settings import HOST, USER, Home, Settings, storage
from slimstream.core.proxy import bypass_for_loopback
from slimstream.tracking import servers as clients
from slimstream.tracking.database import sqlite_uri
from slimstream.watch.secrets import PASSWORD

POOL = "slimstream"
PREFECT = (sys.executable, "-m", "prefect", "--no-prompt")
_WORK = f"worker start --pool {POOL} --type process --name {POOL} --install-policy never"
RETENTION = 365 * 86_400
"""Seconds that Prefect keeps a finished flow run."""


@dataclass(frozen=True)
class Service:
    """One program."""

    name: str
    title: str
    where: str
    command: list[str]
    env: dict[str, str]
    healthy: Callable[[], str]
    """Returns "" when the program works, else the problem."""
    port: int | None = None
    user: str | None = None
    prepare: Callable[[], None] = lambda: None
    """Called before each start."""
    remains: bool = False
    """Whether its children may keep running when it dies: a run without its worker cleans up and ends."""


def services(home: Home, settings: Settings, secrets: Mapping[str, str]) -> list[Service]:
    """All servers, in the order of their start."""
    base, client = base_environment(home), client_environment(home, settings, secrets)
    auth = _login(secrets["PREFECT_API_AUTH_STRING"])
    prefect_url, mlflow_url = client["PREFECT_API_URL"], client["MLFLOW_TRACKING_URI"]
    password = secrets["POSTGRES_PASSWORD"]
    found = []
    if settings.database == "postgres":
        found.append(
            Service(
                "postgres",
                "PostgreSQL",
                f"{HOST}:{settings.postgres_port}",
                postgres.command(home, settings),
                base,
                lambda: postgres.healthy(settings, password),
                settings.postgres_port,
                postgres.user(),
                lambda: postgres.prepare(home, password),
            )
        )
    found.append(
        Service(
            "prefect",
            "the Prefect server",
            f"http://{HOST}:{settings.prefect_port}",
            [*PREFECT, *f"server start --host {HOST} --port {settings.prefect_port}".split()],
            base | _prefect(home, settings, secrets),
            lambda: _answers(f"{prefect_url}/admin/version", auth),
            settings.prefect_port,
        )
    )
    found.append(
        Service(
            "mlflow",
            "the MLflow server",
            mlflow_url,
            mlflow.command(settings),
            base | mlflow.environment(home, settings, secrets),
            lambda: _answers(
                f"{mlflow_url}/api/2.0/mlflow/experiments/get-by-name?experiment_name=Default",
                mlflow.login(secrets),
            ),
            settings.mlflow_port,
            prepare=lambda: mlflow.prepare(home, settings, secrets),
        )
    )
    found.append(
        Service(
            "worker",
            "the worker",
            f"work pool {POOL}",
            [*PREFECT, *_WORK.split()],
            base | client,
            lambda: _polls(prefect_url, auth, process.leader(home.folder, "worker")),
            remains=True,
        )
    )
    if settings.watch:
        where = f"http://{HOST}:{settings.watch_port}"
        asked = ["watch", "--settings", settings.watch, "--port", str(settings.watch_port)]
        found.append(
            Service(
                "watch",
                "watching cameras",
                where,
                [sys.executable, "-m", "slimstream", *asked],
                base | client,
                lambda: _answers(f"{where}/state", (USER, secrets.get(PASSWORD, ""))),
                settings.watch_port,
            )
        )
    return found


def base_environment(home: Home) -> dict[str, str]:
    """The common environment of all servers and programs, without a proxy for loopback."""
    known = [
        str(Path(entry).resolve()) for entry in os.environ.get("PYTHONPATH", "").split(os.pathsep) if entry
    ]
    environment = {
        **os.environ,
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]),
        "PYTHONPATH": os.pathsep.join(dict.fromkeys([str(home.root.resolve() / "src"), *known])),
        "PYTHONUNBUFFERED": "1",
        "PREFECT_HOME": str(home.folder / "prefect"),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_CLI_PROMPT": "false",
        "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DVC_NO_ANALYTICS": "1",
        "GX_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
    }
    bypass_for_loopback(environment)
    return environment


def client_environment(home: Home, settings: Settings, secrets: Mapping[str, str]) -> dict[str, str]:
    """Environment for a program that uses both servers and the S3 storage. It has passwords."""
    return {
        **clients.client_environment(settings.prefect_port, settings.mlflow_port, secrets),
        **clients.HEARTBEAT,
        **storage(secrets),
    }


def _prefect(home: Home, settings: Settings, secrets: Mapping[str, str]) -> dict[str, str]:
    if settings.database == "postgres":
        database = postgres.url(settings, secrets["POSTGRES_PASSWORD"], "prefect", "postgresql+asyncpg")
    else:
        database = sqlite_uri(home.folder / "prefect.db", "aiosqlite")
    ports = settings.prefect_port
    return {
        "PREFECT_SERVER_DATABASE_CONNECTION_URL": database,
        "PREFECT_SERVER_API_AUTH_STRING": secrets["PREFECT_API_AUTH_STRING"],
        # Its background services use its API, too.
        "PREFECT_API_AUTH_STRING": secrets["PREFECT_API_AUTH_STRING"],
        "PREFECT_API_URL": f"http://{HOST}:{ports}/api",
        "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": f"http://{HOST}:{ports},http://localhost:{ports}",
        "PREFECT_LOGGING_SERVER_LEVEL": "WARNING",
        # Flow runs with their logs are deleted after a year, events by Prefect's default after a week.
        "PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED": "events,flow_runs",
        "PREFECT_SERVER_SERVICES_DB_VACUUM_RETENTION_PERIOD": str(RETENTION),
        # By default leases of concurrency slots are lost when the server ends, and then their runs are ended.
        "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
    }


def _answers(url: str, login: tuple[str, str]) -> str:
    try:
        answer = httpx.get(url, auth=login, timeout=10, trust_env=False)
    except httpx.HTTPError:
        return "does not answer"
    if answer.status_code == httpx.codes.UNAUTHORIZED:
        return "refuses the password of secrets.env"
    return "" if answer.is_success else f"answers with status {answer.status_code}"


def _polls(api: str, login: tuple[str, str], leader: psutil.Process | None) -> str:
    """Why the worker has not reported to the server since its start; "" when it has."""
    if leader is None:
        return "is not running"
    try:
        answer = httpx.post(
            f"{api}/work_pools/{POOL}/workers/filter", json={}, auth=login, timeout=10, trust_env=False
        )
    except httpx.HTTPError:
        return "waits for Prefect"
    for worker in answer.json() if answer.is_success else []:
        heard = datetime.fromisoformat(worker["last_heartbeat_time"]).timestamp()
        if worker["name"] == POOL and worker["status"] == "ONLINE" and heard > leader.create_time():
            return ""
    return "has not reported to the Prefect server"


def _login(text: str) -> tuple[str, str]:
    name, _, password = text.partition(":")
    return name, password
