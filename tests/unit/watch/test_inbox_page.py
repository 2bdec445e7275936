"""The page of the inbox shows what is open, and takes decisions of nobody but itself."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from slimstream.core.paths import Paths
from slimstream.stages.export.suspects import Suspect, write_suspects
from slimstream.stages.ingest.params import IngestParams
from slimstream.stages.ingest.scan import scan
from slimstream.watch.champion import Champion
from slimstream.watch.page.inbox import is_same_site
from slimstream.watch.page.server import make_app
from slimstream.watch.settings import CameraParams, WatchParams
from slimstream.watch.watcher import Watcher
from tests.unit.finished_pipeline import render
from tests.unit.watch import tiny
from tests.unit.watch.inbox.test_suspects import ID, KEY
from tests.unit.watch.inbox.windows import item, kept

HERE = "http://localhost"
SAME = {"Sec-Fetch-Site": "same-origin"}
UNSURE, UNKNOWN = item(1), item(2, why="unknown", usefulness=1.4, unlikeness=2.5, answer="unknown")


@pytest.fixture
def watcher(tmp_path: Path) -> Watcher:
    """One that never ran, with two windows and a suspect."""
    render(tmp_path / "plant" / KEY, "normal", 1.0)
    scan(IngestParams(source="plant"), [], Paths(tmp_path))
    kept(tmp_path / "watched/inbox", UNSURE, UNKNOWN)
    write_suspects([Suspect(ID, "leak", "normal", 0.1, 0.85)], 3, tiny.export(tmp_path / "model"))
    champion = Champion(str(tmp_path / "model"), Paths(tmp_path), None, None)
    cameras = {"gate": CameraParams(source=str(tmp_path / "plant" / KEY))}
    return Watcher(WatchParams(cameras=cameras), champion, Paths(tmp_path))


@pytest.fixture
def client(watcher: Watcher) -> Iterator[TestClient]:
    with TestClient(make_app(watcher, ["localhost"], None), base_url=HERE) as client:
        yield client


def decide(client: TestClient, id: str, **body: str) -> Any:
    return client.post(f"/inbox/items/{id}", json=body, headers=SAME)


def test_the_likeliest_most_useful_comes_first(client: TestClient) -> None:
    shown = client.get("/inbox/items").json()
    assert [each["id"] for each in shown["open"]] == [UNKNOWN.id, UNSURE.id, ID]
    assert [each["why"] for each in shown["open"]] == ["unknown", "uncertain", "suspected"]
    assert shown["states"] == ["leak", "normal"] and client.get("/state").json()["inbox"] == 3
    assert client.get(f"/inbox/clips/{UNSURE.id}").content == b"clip"
    for name, kind in {"inbox": "html", "inbox.css": "css", "inbox.js": "javascript"}.items():
        answer = client.get(f"/{name}")
        assert kind in answer.headers["content-type"] and "innerHTML" not in answer.text
        assert "default-src 'self'" in answer.headers["content-security-policy"]


def test_decisions_and_undo(client: TestClient) -> None:
    shown = decide(client, UNSURE.id, action="label", state="foam").json()
    assert shown["states"] == ["leak", "normal", "foam"] and shown["labelled"] == 1
    assert shown["decided"][0]["label"] == "foam" and len(shown["open"]) == 2
    decide(client, UNKNOWN.id, action="dismiss")
    decide(client, ID, action="label", state="normal")
    shown = client.get("/inbox/items").json()
    assert not shown["open"] and [each["label"] for each in shown["decided"]] == [None, "foam", "normal"]
    for id in (UNSURE.id, UNKNOWN.id, ID):
        shown = decide(client, id, action="undo").json()
    assert len(shown["open"]) == 3 and not shown["decided"]
    decide(client, ID, action="dismiss")  # the label is right
    assert client.get("/inbox/items").json()["decided"][0]["label"] == "leak"


def test_a_wrong_name_is_a_sentence(client: TestClient) -> None:
    refused = decide(client, UNSURE.id, action="label", state="../x")
    assert refused.status_code == 422 and "named by letters" in refused.json()["detail"]
    assert decide(client, UNSURE.id, action="label", state="Leak").status_code == 422
    assert decide(client, "gone", action="label", state="leak").status_code == 404
    assert decide(client, UNSURE.id, action="explode").status_code == 422


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site", "Origin": HERE},
    ],
)
def test_other_sites_decide_nothing(client: TestClient, headers: dict[str, str]) -> None:
    answer = client.post(f"/inbox/items/{UNSURE.id}", json={"action": "dismiss"}, headers=headers)
    assert answer.status_code == 403 and len(client.get("/inbox/items").json()["open"]) == 3


def test_a_form_of_another_site_is_no_json(client: TestClient) -> None:
    plain = {"Content-Type": "text/plain", **SAME}
    answer = client.post(f"/inbox/items/{UNSURE.id}", content='{"action": "dismiss"}', headers=plain)
    assert answer.status_code in (403, 422) and len(client.get("/inbox/items").json()["open"]) == 3
    assert not is_same_site({"content-type": "text/plain", "sec-fetch-site": "same-origin"})


def test_where_browsers_send_no_sec_fetch_site_the_origin_counts() -> None:
    sent = {"content-type": "application/json; charset=utf-8", "host": "10.0.0.2:8780"}
    assert is_same_site({**sent, "origin": "http://10.0.0.2:8780"})
    assert not is_same_site({**sent, "origin": "http://10.0.0.2"}) and not is_same_site(sent)


def test_the_password_is_asked_for(watcher: Watcher) -> None:
    with TestClient(make_app(watcher, ["*"], "pass:word"), base_url=HERE) as client:
        for path in ("/inbox", "/inbox/items", "/inbox.js", f"/inbox/clips/{UNSURE.id}"):
            assert client.get(path).status_code == 401
        assert decide(client, UNSURE.id, action="dismiss").status_code == 401
        login = ("admin", "pass:word")
        url = f"/inbox/items/{UNSURE.id}"
        assert client.post(url, json={"action": "dismiss"}, headers=SAME, auth=login).status_code == 200
        assert client.post(url, json={"action": "undo"}, auth=login).status_code == 403


def test_nothing_else_is_given_away(client: TestClient, watcher: Watcher) -> None:
    (watcher.folder / "inbox/mine.mp4").write_bytes(b"not a window")
    for path in ("mine", "..%2f..%2fmodel%2fpreprocessing.json", "%2e%2e/events.jsonl", f"{UNSURE.id}.json"):
        assert client.get(f"/inbox/clips/{path}").status_code == 404
    assert client.get("/inbox.py").status_code == 404


def test_without_an_inbox_there_is_no_page(watcher: Watcher, tmp_path: Path) -> None:
    off = WatchParams.model_validate({"cameras": {"a": {"source": "rig://1"}}, "inbox": {"per_day": 0}})
    bare = Watcher(off, watcher.champion, Paths(tmp_path))
    with TestClient(make_app(bare, ["localhost"], None), base_url=HERE) as client:
        assert client.get("/inbox").status_code == 404 and client.get("/state").json()["inbox"] is None


def test_a_broken_table_of_corrections_leaves_the_page_of_the_cameras_alone(
    client: TestClient, watcher: Watcher
) -> None:
    assert watcher.inbox
    (watcher.inbox.store.folder / "corrections.csv").write_text("a,b\n1,2\n")
    assert client.get("/state").json()["inbox"] == 2 and client.get("/metrics").status_code == 200
    answer = client.get("/inbox/items")
    assert answer.status_code == 422 and "lacks the column path" in answer.json()["detail"]
