"""A flow that is started by hand in a checkout whose servers were started by `make up`."""

import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from prefect.context import refresh_global_settings_context
from prefect.settings import PREFECT_API_URL, get_current_settings

from flows import retrain
from flows.servers import use_own_servers
from infra.services.automations import SILENCE
from slimstream.core.paths import Paths
from slimstream.tracking.servers import HEARTBEAT
from tests.ports import free_port
from tests.unit.tracking.test_servers import started

SET = (
    "PREFECT_API_URL",
    "PREFECT_API_AUTH_STRING",
    "MLFLOW_TRACKING_URI",
    "MLFLOW_TRACKING_USERNAME",
    "MLFLOW_TRACKING_PASSWORD",
    "SLIMSTREAM_TRACKING",
    *HEARTBEAT,
)


@pytest.fixture
def port(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """The port of the servers of the checkout `tmp_path`; the environment names none."""
    for name in SET:
        monkeypatch.setenv(name, "")  # so that it is as before after the test
        monkeypatch.delenv(name)
    started(tmp_path, port := free_port())
    yield port
    monkeypatch.undo()
    refresh_global_settings_context()


def test_it_uses_them_and_so_do_its_children(
    port: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", port)):
        use_own_servers(Paths(tmp_path))
    assert PREFECT_API_URL.value() == os.environ["PREFECT_API_URL"] == f"http://127.0.0.1:{port}/api"
    assert os.environ["MLFLOW_TRACKING_URI"] == f"http://127.0.0.1:{port}"
    signs = get_current_settings().flows.heartbeat_frequency
    assert signs is not None and 2 * signs < SILENCE, "else `make up` takes the run for crashed"
    said = capsys.readouterr().out
    assert said == f"MLflow is http://127.0.0.1:{port}, the server of `make up`.\n"


def test_only_what_is_used_has_to_run(
    port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = {"prefect_port": free_port(), "mlflow_port": port}
    (tmp_path / ".services/settings.json").write_text(json.dumps(settings))
    monkeypatch.setenv("PREFECT_API_URL", "http://another:4200/api")
    refresh_global_settings_context()
    with socket.create_server(("127.0.0.1", port)):
        use_own_servers(Paths(tmp_path))  # the checkout's Prefect does not run
    assert os.environ["PREFECT_API_URL"] == "http://another:4200/api"
    assert os.environ.pop("MLFLOW_TRACKING_URI") == f"http://127.0.0.1:{port}"
    capsys.readouterr()
    monkeypatch.setenv("SLIMSTREAM_TRACKING", "off")
    use_own_servers(Paths(tmp_path))  # neither MLflow, nor its Prefect
    assert "MLFLOW_TRACKING_URI" not in os.environ and capsys.readouterr().out == ""


def test_while_they_are_down_it_does_not_begin(
    port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(retrain, "ROOT", tmp_path)
    assert retrain.main([]) == 3
    assert "retrain: The servers of `make up` do not run" in capsys.readouterr().err
    monkeypatch.setenv("SLIMSTREAM_TRACKING", "local")
    use_own_servers(Paths(tmp_path))
    assert "MLFLOW_TRACKING_URI" not in os.environ
