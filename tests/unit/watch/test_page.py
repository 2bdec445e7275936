"""What the server answers, and to whom."""

import re
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient

from slimstream.core.errors import UserError
from slimstream.core.paths import Paths
from slimstream.watch.champion import Champion
from slimstream.watch.page import server
from slimstream.watch.page.server import make_app, serving
from slimstream.watch.settings import CameraParams, WatchParams
from slimstream.watch.watcher import Watcher
from tests.unit.finished_pipeline import render
from tests.unit.watch import tiny

HERE = "http://localhost"
PAGE = Path(server.__file__).parent


@pytest.fixture(scope="module")
def watcher(tmp_path_factory: pytest.TempPathFactory) -> Watcher:
    """One that has looked at a file, and has an event."""
    root = tmp_path_factory.mktemp("plant")
    render(root / "a.mp4", "leak", 1.0)
    champion = Champion(str(tiny.export(root / "model")), Paths(root), None, None)
    cameras = {"gate": CameraParams(source=str(root / "a.mp4"))}
    watcher = Watcher(WatchParams(cameras=cameras, agree=1), champion, Paths(root))
    with watcher.running():
        watcher.wait()
    return watcher


@pytest.fixture
def ask(watcher: Watcher) -> Iterator[Callable[..., httpx.Response]]:
    with TestClient(make_app(watcher, ["localhost", "127.0.0.1"], None), base_url=HERE) as client:
        yield client.get


def test_it_shows_cameras_events_and_the_network(ask: Callable[..., Any]) -> None:
    state = ask("/state").json()
    (camera,), (event,) = state["cameras"], state["events"]
    assert (
        camera["state"] == "leak" and camera["probabilities"]["leak"] > 0.9 and camera["unlikeness"] is None
    )
    assert event["text"].startswith("gate is leak (") and state["model"]["classes"] == ["leak", "normal"]
    assert ask("/pictures/gate").content[:2] == b"\xff\xd8"
    clip = ask(f"/clips/{event['clip']}")
    assert clip.headers["content-type"] == "video/mp4" and clip.content[4:8] == b"ftyp"


def test_its_files_are_its_own_and_name_no_other_place(ask: Callable[..., Any]) -> None:
    for name, kind in {"": "html", "page.css": "css", "page.js": "javascript"}.items():
        answer = ask(f"/{name}")
        assert answer.status_code == 200 and kind in answer.headers["content-type"]
        assert not re.search(r"https?://|@import|url\(", answer.text)
        assert "innerHTML" not in answer.text
        assert "default-src 'self'" in answer.headers["content-security-policy"]


def test_nothing_else_is_given_away(ask: Callable[..., Any], watcher: Watcher) -> None:
    (watcher.clips.folder / "other.mp4").write_bytes(b"not of an event")
    for path in (
        *("/pictures/other", "/clips/other.mp4", "/clips/..%2fevents.jsonl", "/clips/%2e%2e/events.jsonl"),
        *("/page.py", "/docs", "/openapi.json"),
    ):
        assert ask(path).status_code == 404, path


def test_metrics_are_prometheus(ask: Callable[..., Any]) -> None:
    from prometheus_client.parser import text_string_to_metric_families

    families = text_string_to_metric_families(ask("/metrics").text)
    found = {s.name: s for family in families for s in family.samples}
    assert found["slimstream_watch_answers_total"].value == 1
    assert found["slimstream_watch_state"].labels == {"camera": "gate", "state": "leak"}
    assert found["slimstream_watch_events_total"].value == 1


def test_a_camera_that_has_moved_is_shown(
    ask: Callable[..., Any], watcher: Watcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    moved = {"drift": "moved", "notice": "gate has moved."}
    monkeypatch.setattr(watcher.drift, "shown", lambda _: moved)
    (camera,) = ask("/state").json()["cameras"]
    assert camera.items() >= moved.items()
    assert 'slimstream_watch_drift{camera="gate",kind="moved"} 1.0' in ask("/metrics").text


def test_another_name_for_this_computer_is_refused(ask: Callable[..., Any]) -> None:
    assert ask("/state", headers={"Host": "evil.example"}).status_code == 400


def test_a_password_is_asked_for_everywhere(watcher: Watcher) -> None:
    with TestClient(make_app(watcher, ["*"], "pass:word"), base_url=HERE) as client:
        for path in ("/", "/page.js", "/state", "/pictures/gate", "/metrics", "/clips/x", "/nothing"):
            for login in (None, ("admin", "wrong"), ("other", "pass:word")):
                assert client.get(path, auth=login).status_code in (401, 404), path
        assert client.get("/state").status_code == 401
        assert client.get("/state", auth=("admin", "pass:word")).status_code == 200


def test_it_leaves_this_computer_only_with_a_password(watcher: Watcher) -> None:
    with pytest.raises(UserError, match="SLIMSTREAM_WATCH_PASSWORD"), serving(watcher, "0.0.0.0", 0, None):
        pass
    with serving(watcher, "0.0.0.0", 0, "secret") as address:
        port = int(address.rpartition(":")[2])
        here = f"http://127.0.0.1:{port}/state"
        assert httpx.get(here, trust_env=False).status_code == 401
        assert httpx.get(here, auth=("admin", "secret"), trust_env=False).status_code == 200


def test_a_taken_port_is_one_sentence(watcher: Watcher) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with (
            pytest.raises(UserError, match=f"port {port} .*already in use"),
            serving(watcher, "127.0.0.1", port, None),
        ):
            pass
