"""The servers that `make up` started for a checkout, as their clients find them.

`make up` keeps ports in `.services/settings.json` and passwords in `.services/secrets.env`, which only its
owner can read. Passwords are passed on as environment variables only.
"""

import json
import socket
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from slimstream.core.errors import Unavailable, UserError

HOST = "127.0.0.1"
FOLDER = ".services"
SETTINGS, SECRETS = "settings.json", "secrets.env"
HEARTBEAT = {"PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30"}
"""Seconds between signs of life of a flow run; `make up` lets runs without them crash."""


def client_environment(prefect_port: int, mlflow_port: int, secrets: Mapping[str, str]) -> dict[str, str]:
    """Addresses and logins of both servers, as the environment variables that their clients read."""
    return {
        "PREFECT_API_URL": f"http://{HOST}:{prefect_port}/api",
        "PREFECT_API_AUTH_STRING": secrets["PREFECT_API_AUTH_STRING"],
        "MLFLOW_TRACKING_URI": f"http://{HOST}:{mlflow_port}",
        "MLFLOW_TRACKING_USERNAME": secrets["MLFLOW_TRACKING_USERNAME"],
        "MLFLOW_TRACKING_PASSWORD": secrets["MLFLOW_TRACKING_PASSWORD"],
    }


def servers_of(root: Path) -> dict[str, str]:
    """`client_environment` of the servers of the checkout `root`; empty where `make up` was never called.

    Raises UserError when the files of `make up` are incomplete.
    """
    folder = root / FOLDER
    if not (folder / SETTINGS).exists():
        return {}
    try:
        ports = json.loads((folder / SETTINGS).read_text())
        return client_environment(
            ports["prefect_port"], ports["mlflow_port"], read_variables(folder / SECRETS)
        )
    except (ValueError, TypeError, KeyError, FileNotFoundError) as error:
        raise UserError(
            f"{folder} does not say where the servers are ({error}); `make up` mends it."
        ) from None


def check_running(environment: Mapping[str, str]) -> None:
    """Raise Unavailable unless something listens at the addresses in `environment`.

    It is `client_environment`, or a part of it.
    """
    for name in filter(environment.__contains__, ("PREFECT_API_URL", "MLFLOW_TRACKING_URI")):
        port = urlsplit(environment[name]).port
        try:
            socket.create_connection((HOST, port or 0), timeout=5).close()
        except OSError:
            raise Unavailable(
                f"The servers of `make up` do not run (nothing answers at {environment[name]}): `make up` "
                "starts them, SLIMSTREAM_TRACKING=local does without them."
            ) from None


def read_variables(file: Path) -> dict[str, str]:
    """The lines `NAME=value` of a file; lines that begin with # are skipped."""
    lines = file.read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))
