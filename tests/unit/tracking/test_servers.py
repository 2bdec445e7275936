"""What the clients of a checkout's servers read."""

import json
import socket
from pathlib import Path

import pytest

from slimstream.core.errors import Unavailable, UserError
from slimstream.tracking.servers import check_running, servers_of
from tests.ports import free_port

SECRETS = "# a comment\nMLFLOW_TRACKING_USERNAME=admin\nMLFLOW_TRACKING_PASSWORD=a=b\n"


PREFECT = "PREFECT_API_AUTH_STRING=admin:x\n"


def started(root: Path, mlflow_port: int, secrets: str = SECRETS + PREFECT) -> None:
    """The files of `make up`."""
    (root / ".services").mkdir()
    (root / ".services/settings.json").write_text(
        json.dumps({"prefect_port": mlflow_port, "mlflow_port": mlflow_port})
    )
    (root / ".services/secrets.env").write_text(secrets)


def test_addresses_and_logins_come_from_the_files_of_make_up(tmp_path: Path) -> None:
    assert servers_of(tmp_path) == {}
    started(tmp_path, 5000)
    assert servers_of(tmp_path) == {
        "PREFECT_API_URL": "http://127.0.0.1:5000/api",
        "PREFECT_API_AUTH_STRING": "admin:x",
        "MLFLOW_TRACKING_URI": "http://127.0.0.1:5000",
        "MLFLOW_TRACKING_USERNAME": "admin",
        "MLFLOW_TRACKING_PASSWORD": "a=b",
    }


def test_incomplete_files_are_named(tmp_path: Path) -> None:
    started(tmp_path, 5000, SECRETS)
    with pytest.raises(UserError, match=r"\.services does not say where .*PREFECT_API_AUTH_STRING") as told:
        servers_of(tmp_path)
    assert "a=b" not in str(told.value)


def test_servers_that_do_not_run_are_named(tmp_path: Path) -> None:
    started(tmp_path, port := free_port())
    with pytest.raises(Unavailable, match=f"nothing answers at http://127.0.0.1:{port}/api.*`make up`"):
        check_running(servers_of(tmp_path))
    with socket.create_server(("127.0.0.1", port)):
        check_running(servers_of(tmp_path))
