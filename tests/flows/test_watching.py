"""`watch` against real programs: an RTSP server, an MQTT broker, MLflow's registry and a browser."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import pandas as pd
import pytest
from paho.mqtt.client import CallbackAPIVersion, Client

from infra.services.servers import services
from infra.services.settings import Home, Settings, load_secrets
from slimstream.core.paths import Paths
from slimstream.registry import artifacts
from slimstream.registry.publish import publish
from slimstream.watch import camera as camera_module
from slimstream.watch import champion as champion_module
from slimstream.watch import mqtt
from slimstream.watch.champion import Champion
from slimstream.watch.events import Event
from slimstream.watch.mqtt import Mqtt
from slimstream.watch.page.server import serving
from slimstream.watch.secrets import PASSWORD
from slimstream.watch.settings import CameraParams, InboxParams, MqttParams, WatchParams
from slimstream.watch.watcher import Watcher
from tests.flows.browser import CHROMIUM, QUIET
from tests.ports import free_port
from tests.unit.finished_pipeline import PARAMS, write_clips, write_evaluation
from tests.unit.watch import tiny

pytestmark = pytest.mark.box

SECONDS = 3
"""Of each colour in the stream."""


def until_open(port: int) -> None:
    import socket

    def answers() -> bool:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            return False
        return True

    tiny.until(answers)


# RTSP


def film(path: Path) -> Path:
    """Red, then blue, in H.264."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"g": "25", "preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for number in range(2 * SECONDS * 25):
            colour = tiny.RED if number < SECONDS * 25 else tiny.BLUE
            frame = av.VideoFrame.from_ndarray(tiny.flat(colour, (48, 64)), format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


@contextmanager
def rtsp_server(file: Path, port: int) -> Iterator[None]:
    python, program = "/usr/bin/python3", Path(__file__).with_name("rtsp_server.py")
    server = subprocess.Popen([python, program, file, str(port), "admin", "s3cret"])
    try:
        until_open(port)
        yield
    finally:
        server.kill()
        server.wait()


def test_a_camera_that_is_unplugged_and_plugged_in_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(camera_module, "PAUSES", (0.2, 0.4))
    monkeypatch.setenv("DOOR", "s3cret")
    port, file = free_port(), film(tmp_path / "film.mp4")
    source = f"rtsp://admin:${{DOOR}}@127.0.0.1:{port}/door"
    champion = Champion(str(tiny.export(tmp_path / "model")), Paths(tmp_path), None, None)
    settings = WatchParams(cameras={"door": CameraParams(source=source)}, hop=0.2, agree=2)
    watcher = Watcher(settings, champion, Paths(tmp_path))
    door = watcher.cameras["door"]
    with watcher.running():
        tiny.until(lambda: door.status == "gone")
        assert door.reason == "Connection refused"
        with rtsp_server(file, port):
            tiny.until(lambda: door.state == "leak")
            tiny.until(lambda: door.state == "normal")
        tiny.until(lambda: door.status == "gone")
        with rtsp_server(file, port):
            tiny.until(lambda: door.state == "leak")
        snapshot = str(watcher.snapshot())
    log = (tmp_path / "watched/events.jsonl").read_text()
    kinds = [(event["kind"], event["state"]) for event in map(json.loads, log.splitlines())]
    assert kinds[:4] == [("gone", None), ("back", None), ("state", "leak"), ("state", "normal")]
    assert ("state", "leak") in kinds[4:]
    assert "s3cret" not in log + snapshot + "".join(capfd.readouterr())


# MQTT


@contextmanager
def broker(folder: Path, port: int, *lines: str) -> Iterator[None]:
    """A real mosquitto that knows one user and keeps nothing."""
    folder.mkdir(exist_ok=True)
    passwords = folder / "passwords"
    passwords.touch(mode=0o600)
    subprocess.run(["mosquitto_passwd", "-b", passwords, "plant", "s3cret"], check=True)
    passwords.chmod(0o644)
    config = [f"listener {port} 127.0.0.1", f"password_file {passwords}", "user root", *lines]
    (folder / "mosquitto.conf").write_text("\n".join(config) + "\n")
    environment = {**os.environ, "PATH": os.environ["PATH"] + ":/usr/sbin"}
    server = subprocess.Popen(["mosquitto", "-c", folder / "mosquitto.conf"], env=environment)
    try:
        until_open(port)
        yield
    finally:
        server.terminate()
        server.wait()


@contextmanager
def listener(port: int, ca: Path | None = None) -> Iterator[dict[str, list[str]]]:
    """What arrives, by topic."""
    heard: dict[str, list[str]] = {}
    client = Client(CallbackAPIVersion.VERSION2)
    client.username_pw_set("plant", "s3cret")
    if ca:
        client.tls_set(ca_certs=str(ca))
    client.on_message = lambda c, d, m: heard.setdefault(m.topic, []).append(m.payload.decode())
    client.on_connect = lambda c, *_: c.subscribe("#", 1)
    client.connect("127.0.0.1" if ca is None else "localhost", port)
    client.loop_start()
    try:
        yield heard
    finally:
        client.disconnect()
        client.loop_stop()


def event(state: str, kind: str = "state") -> Event:
    return Event("gate", kind, "2026-01-02T03:04:05.678+00:00", state, None, 0.9, None, "tiny 1")


def last(heard: dict[str, list[str]], topic: str) -> Any:
    return heard.get(topic, [None])[-1]


def test_a_broker_gets_states_and_descriptions_and_misses_nothing_of_an_outage(tmp_path: Path) -> None:
    port = free_port()
    sink = Mqtt(MqttParams(host="127.0.0.1", port=port), ["gate"], "plant", "s3cret")
    sink.send(event("leak"))  # there is no broker yet
    with broker(tmp_path / "one", port), listener(port) as heard:
        tiny.until(lambda: last(heard, "slimstream/gate/state"))
        assert json.loads(last(heard, "slimstream/gate/state"))["state"] == "leak"
        tiny.until(lambda: last(heard, "slimstream/gate/event"))
        config = json.loads(last(heard, "homeassistant/sensor/slimstream_gate/config"))
        assert config["state_topic"] in heard and {a["topic"] for a in config["availability"]} <= set(heard)
        assert last(heard, "slimstream/availability") == "online"
        sink.send(event("leak", "gone"))
        tiny.until(lambda: last(heard, "slimstream/gate/availability") == "offline")
    sink.send(event("normal"))  # in an outage
    with broker(tmp_path / "two", port), listener(port) as heard:
        tiny.until(lambda: json.loads(last(heard, "slimstream/gate/state") or "{}").get("state") == "normal")
        tiny.until(lambda: last(heard, "slimstream/gate/availability") == "online")
        sink.close()
        tiny.until(lambda: last(heard, "slimstream/availability") == "offline")


def test_after_a_long_outage_the_broker_gets_the_newest_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(mqtt, "WAITING", 20)
    port = free_port()
    sink = Mqtt(MqttParams(host="127.0.0.1", port=port), ["gate"], "plant", "s3cret")
    for n in range(20):
        sink.send(event(f"state {n}"))
    for n in (20, 21):
        with pytest.raises(ValueError, match="20 events wait for it already"):
            sink.send(event(f"state {n}"))
    tiny.until(lambda: f"127.0.0.1:{port} does not answer" in capsys.readouterr().out)
    with broker(tmp_path / "one", port), listener(port) as heard:
        tiny.until(lambda: "state 21" in (last(heard, "slimstream/gate/state") or ""))
        assert last(heard, "slimstream/availability") == "online"
        tiny.until(lambda: len(heard.get("slimstream/gate/event", [])) >= 20)
        sink.send(event("state 22"))  # there is room again
        tiny.until(lambda: "state 22" in heard["slimstream/gate/event"][-1])
        sink.close()


def test_a_broker_with_tls_is_checked_and_hears_of_a_death(tmp_path: Path) -> None:
    ca, key = tmp_path / "ca.pem", tmp_path / "key.pem"
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    make = f"openssl req -x509 -newkey rsa:2048 -nodes -days 2 -keyout {key} -out {ca}".split()
    subprocess.run([*make, *subject], check=True, capture_output=True)
    key.chmod(0o644)
    port = free_port()
    program = (
        "import sys, time; from pathlib import Path; from slimstream.watch.mqtt import Mqtt;"
        "from slimstream.watch.settings import MqttParams;"
        "p = MqttParams(host='localhost', port=int(sys.argv[1]), tls=True, ca=Path(sys.argv[2]));"
        "Mqtt(p, ['gate'], 'plant', 's3cret'); time.sleep(60)"
    )
    with broker(tmp_path / "b", port, f"certfile {ca}", f"keyfile {key}"), listener(port, ca) as heard:
        watch = subprocess.Popen([sys.executable, "-c", program, str(port), ca])
        tiny.until(lambda: last(heard, "slimstream/availability") == "online")
        watch.send_signal(signal.SIGKILL)
        watch.wait()
        tiny.until(lambda: last(heard, "slimstream/availability") == "offline")


# The registry


def in_process(uri: str, model_uris: Sequence[str], files: Sequence[Path]) -> list[pd.DataFrame]:
    """`artifacts.score_clips` without a process for every model: each spends seconds on importing MLflow."""
    import mlflow

    with artifacts._use_store(uri):
        return [mlflow.pyfunc.load_model(uri).predict([str(file) for file in files]) for uri in model_uris]


def test_a_promotion_is_taken_over_while_streams_run_and_no_window_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(artifacts, "score_clips", in_process)
    monkeypatch.setattr(champion_module, "LOOK", 0.2)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    paths = Paths(tmp_path)
    write_clips(paths, {"north": "train", "south": "val", "east": "test"})
    paths.report_page.write_text("<!--verdict--><!--/verdict-->")
    write_evaluation(paths, red=9, bias=-1.8)
    assert publish(PARAMS, paths).promoted
    champion = Champion("tiny", paths, None, 0.32)
    assert champion.model.name == "tiny 1" and champion.model.tags["gate"] == "passed"
    sources = {name: CameraParams(source=f"rig://{name[-1]}?fps=10") for name in ("rig1", "rig2")}
    watcher = Watcher(WatchParams(cameras=sources, hop=0.5), champion, paths)
    with watcher.running():
        tiny.until(lambda: all(camera.answers for camera in watcher.cameras.values()))
        write_clips(paths, {"north": "train", "south": "val", "east": "test", "west": "train"})
        write_evaluation(paths, red=9)
        assert publish(PARAMS, paths).promoted
        tiny.until(lambda: all(camera.answered_by == "tiny 2" for camera in watcher.cameras.values()))
        assert not any(camera.failed for camera in watcher.cameras.values())
    for camera in watcher.cameras.values():
        assert camera.answers + camera.dropped >= camera.frames / 5 - 2  # a window every five frames


# Part of `make up`


def test_make_up_starts_it_where_it_is_asked_to(tmp_path: Path) -> None:
    home, port = Home(tmp_path), free_port()
    home.make()
    (tmp_path / "w.yaml").write_text(
        f"model: {tiny.export(tmp_path / 'm')}\ncameras: {{a: {{source: rig://1}}}}\n"
    )
    secrets = load_secrets(home)
    assert "watch" not in {service.name for service in services(home, Settings(), secrets)}
    with home.secrets.open("a") as file:
        file.write(f"{PASSWORD}=s3cret\n")
    (watch,) = (
        service
        for service in services(home, Settings(watch="w.yaml", watch_port=port), load_secrets(home))
        if service.name == "watch"
    )
    assert "s3cret" not in str([watch.command, watch.env])
    server = subprocess.Popen(watch.command, env=watch.env, cwd=tmp_path)
    try:
        tiny.until(lambda: not watch.healthy())
    finally:
        server.terminate()
        assert server.wait(30) == 0


# The page

FRAMED = """rects => rects.map(rect => {
  const shown = rect.closest("figure"), picture = shown.querySelector("img");
  const figure = shown.getBoundingClientRect(), drawn = rect.getBoundingClientRect();
  if (!drawn.width) return null;
  const scale = Math.min(figure.width / picture.naturalWidth, figure.height / picture.naturalHeight);
  const width = scale * picture.naturalWidth, height = scale * picture.naturalHeight;
  const left = figure.left + (figure.width - width) / 2, top = figure.top + (figure.height - height) / 2;
  return [(drawn.left - left) / width, (drawn.top - top) / height,
          (drawn.right - left) / width, (drawn.bottom - top) / height];
})"""
"""The sides of each frame as shares of the picture as it is shown; null for none."""


@pytest.mark.parametrize("size", [(1920, 1080), (390, 844)], ids=["wall", "telephone"])
def test_the_page_shows_cameras_states_and_clips(tmp_path: Path, size: tuple[int, int]) -> None:
    from playwright.sync_api import expect, sync_playwright

    champion = Champion(str(tiny.export(tmp_path / "model")), Paths(tmp_path), None, None)
    sources = {"east": "rig://1?fps=10", "west": "rig://2?fps=10", "gate": "rtsp://127.0.0.1:9/door"}
    cameras = {name: CameraParams(source=source) for name, source in sources.items()}
    cameras["west"] = CameraParams(source=sources["west"], region=(0.25, 0.1, 0.75, 0.9))
    watcher = Watcher(WatchParams(cameras=cameras, agree=1), champion, Paths(tmp_path))
    width, height = size
    with watcher.running(), serving(watcher, "127.0.0.1", 0, "secret") as address, sync_playwright() as play:
        chromium = play.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        page = chromium.new_page(
            viewport={"width": width, "height": height},
            http_credentials={"username": "admin", "password": "secret"},
        )
        faults: list[str] = []
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.goto(address)
        for what in ("article img[src]", "#events button:not([hidden])", ".strip i"):
            expect(page.locator(what)).to_have_count(2, timeout=60_000)
        shown = page.inner_text("body")
        assert "No picture since" in shown and "Connection refused" in shown and "normal" in shown
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        if width > 1000:  # nothing to scroll on a wall
            assert page.evaluate("document.documentElement.scrollHeight") <= height
        framed = page.locator("article .region rect").evaluate_all(FRAMED)
        west = list(watcher.cameras).index("west")
        assert framed[west] == pytest.approx([0.25, 0.1, 0.75, 0.9], abs=0.01)
        assert [sides for place, sides in enumerate(framed) if place != west] == [None, None]
        page.locator("#events button:not([hidden])").first.click()
        tiny.until(lambda: page.evaluate("document.querySelector('video').currentTime") > 0.2)
        page.screenshot(path=tmp_path / "page.png")
        chromium.close()
    assert not faults


@pytest.mark.parametrize("size", [(1366, 768), (390, 844)], ids=["laptop", "telephone"])
def test_a_person_labels_in_the_inbox(tmp_path: Path, size: tuple[int, int]) -> None:
    from playwright.sync_api import expect, sync_playwright

    champion = Champion(str(tiny.export(tmp_path / "model", 1.0, red=1.0)), Paths(tmp_path), None, None)
    cameras = {name: CameraParams(source=f"rig://{name[-1]}?fps=10") for name in ("east3", "west4")}
    settings = WatchParams(cameras=cameras, agree=2, inbox=InboxParams(margin=0.9))
    watcher = Watcher(settings, champion, Paths(tmp_path))
    width, height = size
    with watcher.running(), serving(watcher, "127.0.0.1", 0, "secret") as address, sync_playwright() as play:
        assert watcher.desk is not None
        tiny.until(lambda: watcher.desk.count >= 4)
        chromium = play.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        page = chromium.new_page(
            viewport={"width": width, "height": height},
            http_credentials={"username": "admin", "password": "secret"},
        )
        faults: list[str] = []
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.goto(address)
        page.locator("#inbox").click()
        tiny.until(lambda: page.evaluate("document.querySelector('video')?.currentTime ?? 0") > 0.1)
        count = page.locator("#count")
        page.keyboard.press("1")
        expect(count).to_contain_text("· 1 labelled")
        page.keyboard.press("n")
        page.keyboard.type("foam on top")
        page.keyboard.press("Enter")
        expect(count).to_contain_text("· 2 labelled")
        page.locator("#dismiss").click()
        expect(page.locator("#decided li").first).to_contain_text("nonsense")
        page.keyboard.press("u")  # the nonsense
        expect(page.locator("#decided li")).to_have_count(2)
        page.keyboard.press("u")  # the foam
        expect(count).to_contain_text("· 1 labelled")
        page.get_by_role("button", name="normal").click()
        expect(count).to_contain_text("· 2 labelled")
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        if width > 1000:
            assert page.evaluate("document.documentElement.scrollHeight") <= height
        page.screenshot(path=tmp_path / "inbox.png")
        chromium.close()
    assert not faults
    table = (tmp_path / "watched/inbox/metadata.csv").read_text().splitlines()
    assert table[0] == "path,label,camera,day,time" and {line.split(",")[1] for line in table[1:]} == {
        "leak",
        "normal",
    }
