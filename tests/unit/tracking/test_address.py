"""One checkout, one store: which one, and what is said about it."""

import os
from pathlib import Path

import pytest

from slimstream.core.paths import Paths
from slimstream.tracking.address import found_servers, login, own_uri, store_sentence, stores, tracking_uri
from tests.unit.tracking.test_servers import started

SERVER = "http://127.0.0.1:5999"


@pytest.fixture
def paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Paths:
    """A checkout whose servers were started."""
    for name in ("MLFLOW_TRACKING_URI", "SLIMSTREAM_TRACKING"):
        monkeypatch.delenv(name, raising=False)
    started(tmp_path, 5999)
    return Paths(tmp_path)


def test_without_servers_it_is_the_database_and_nothing_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    paths = Paths(tmp_path)
    assert tracking_uri(paths) == own_uri(paths) and store_sentence(paths) == "" and stores(paths) == []
    (tmp_path / "mlflow.db").touch()
    assert stores(paths) == [own_uri(paths)]


def test_the_servers_of_the_checkout_are_found_and_named(paths: Paths) -> None:
    assert tracking_uri(paths) == SERVER
    assert store_sentence(paths) == f"MLflow is {SERVER}, the server of `make up`."
    (paths.root / "mlflow.db").touch()
    assert "mlflow.db of this folder is not used; SLIMSTREAM_TRACKING=local uses it" in store_sentence(paths)
    assert stores(paths) == [SERVER, own_uri(paths)]
    assert login(paths, SERVER) == {
        "MLFLOW_TRACKING_USERNAME": "admin",
        "MLFLOW_TRACKING_PASSWORD": "a=b",
    }
    assert login(paths, own_uri(paths)) == {} and login(paths, "http://elsewhere:5000") == {}


def test_the_environment_goes_first(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    (paths.root / "mlflow.db").touch()
    monkeypatch.setenv("SLIMSTREAM_TRACKING", "local")
    assert (
        tracking_uri(paths) == own_uri(paths) and store_sentence(paths) == "" and found_servers(paths) == {}
    )
    assert stores(paths) == [own_uri(paths), SERVER]  # test clips and versions may be in either
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://elsewhere:5000")
    assert tracking_uri(paths) == "http://elsewhere:5000" and found_servers(paths) == {}


def test_connecting_logs_in_and_says_no_password(
    paths: Paths, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from slimstream.cli.parser import main

    for name in ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"):
        monkeypatch.setenv(name, "of another server")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    assert main(["--root", str(paths.root), "versions", "--name", "tiny"]) == 3
    assert os.environ["MLFLOW_TRACKING_PASSWORD"] == "a=b"
    said = capsys.readouterr().err
    assert said.startswith(f"slimstream versions: MLflow is {SERVER}, the server of `make up`.\n")
    assert "does not answer; start it (`make up`)" in said and "a=b" not in said
