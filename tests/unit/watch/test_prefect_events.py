"""Drift reaches a Prefect server, and nothing else does."""

import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from slimstream.watch.events import Event
from slimstream.watch.prefect_events import LOGIN, URL, PrefectEvents, prefect_server
from tests.unit.watch import tiny

DRIFT = Event("gate", "drift", "2026-01-02T03:04:05.678+00:00", version="rig 1", reason="unlikeness 2.00")


def test_drift_is_an_event_of_prefect_and_a_change_of_state_is_none() -> None:
    got: list[tuple[str, str | None, object]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            got.append((self.path, self.headers["Authorization"], body))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, args=[0.05], daemon=True).start()
        sink = PrefectEvents({URL: f"http://127.0.0.1:{server.server_port}/api", LOGIN: "admin:pass"})
        for event in (DRIFT, Event("gate", "state", DRIFT.time, "leak"), Event("gate", "gone", DRIFT.time)):
            sink.send(event)
        tiny.until(lambda: got)
        sink.close()
        server.shutdown()
    ((path, login, [body]),) = got
    assert path == "/api/events" and login == "Basic YWRtaW46cGFzcw=="
    assert body["event"] == "slimstream.watch.drift" and body["occurred"] == DRIFT.time
    assert body["resource"]["prefect.resource.id"] == "slimstream.camera.gate"
    assert body["payload"]["text"] == "gate shows something else than before: unlikeness 2.00."


def test_the_server_is_that_of_the_environment_or_of_make_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(URL, raising=False)
    assert not prefect_server(tmp_path)
    services = tmp_path / ".services"
    services.mkdir()
    (services / "settings.json").write_text('{"prefect_port": 1, "mlflow_port": 2}')
    names = (LOGIN, "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD")
    (services / "secrets.env").write_text("".join(f"{name}=x\n" for name in names))
    assert prefect_server(tmp_path)[URL] == "http://127.0.0.1:1/api"
    monkeypatch.setenv(URL, "http://plant.example/api")
    assert prefect_server(tmp_path)[URL] == "http://plant.example/api"
