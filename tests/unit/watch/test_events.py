"""Events reach every sink, with a clip that plays; what fails costs no other event."""

import json
import socket
from dataclasses import asdict, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import av
import pytest

from slimstream.watch import webhook
from slimstream.watch.clips import Clips
from slimstream.watch.events import Event, JsonLines, Outbox
from slimstream.watch.film import Film
from slimstream.watch.notices import Notices
from slimstream.watch.webhook import Webhook
from tests.unit.watch import tiny

EVENT = Event("gate", "state", "2026-01-02T03:04:05.678+00:00", "leak", "normal", 0.9, None, "tiny 1")


class Kept:
    """A sink for tests, which may refuse events."""

    def __init__(self, name: str = "a sink", refuses: bool = False) -> None:
        self.name, self.refuses = name, refuses
        self.events: list[Event] = []

    def send(self, event: Event) -> None:
        if self.refuses:
            raise OSError("no")
        self.events.append(event)

    def close(self) -> None: ...


def reel(count: int = 80) -> list[tuple[float, bytes]]:
    film = Film(10)
    for number in range(count):
        film.add(tiny.flat(tiny.RED, (25, 41)), 1000 + number / 4)
    return film.reel()


def outbox_of(folder: Path, *sinks: Kept) -> Outbox:
    """One that keeps two clips."""
    notices = Notices()
    return Outbox(sinks, Clips(folder, 2, notices), notices)


def test_an_event_is_a_sentence() -> None:
    assert EVENT.text == "gate is leak instead of normal (90%, tiny 1)."
    unknown = replace(EVENT, state="unknown", unlikeness=1.5)  # the probability is that of the likest class
    assert unknown.text == "gate is unknown instead of normal (unlikeness 1.50, tiny 1)."
    assert Event("gate", "gone", "", reason="Connection refused").text == (
        "gate sends no pictures: Connection refused."
    )


def test_it_comes_with_a_clip_that_plays_and_old_clips_make_room(tmp_path: Path) -> None:
    (tmp_path / "mine.mp4").touch()
    sink = Kept()
    outbox = outbox_of(tmp_path, sink)
    for second in range(4):
        outbox.put(replace(EVENT, time=f"2026-01-02T03:04:0{second}.678+00:00"), reel())
    outbox.close()
    kept = sorted(file.name for file in tmp_path.glob("*.mp4"))
    assert kept == [sink.events[2].clip, sink.events[3].clip, "mine.mp4"]
    with av.open(str(tmp_path / kept[0])) as container:
        times = [frame.time for frame in container.decode(video=0)]
        assert container.streams.video[0].codec_context.name == "h264"
    assert times == pytest.approx([i / 4 for i in range(40)])


def test_a_sink_that_fails_is_said_once_and_harms_no_other(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "clips").touch()  # no folder: clips fail, too
    bad, good = Kept("a bad one", refuses=True), Kept()
    outbox = outbox_of(tmp_path / "clips", bad, good)
    for _ in range(3):
        outbox.put(EVENT, reel())
    outbox.close()
    assert [event.state for event in good.events] == ["leak"] * 3
    said = capsys.readouterr().err
    assert said.count("a bad one cannot take an event") == 1 and said.count("clip of an event") == 1


def test_lines_stay_whole_after_a_kill_in_the_middle_of_one(tmp_path: Path) -> None:
    sink = JsonLines(tmp_path / "deep/events.jsonl")
    sink.send(EVENT)
    with (tmp_path / "deep/events.jsonl").open("a") as file:
        file.write('{"camera": "ga')
    sink.send(EVENT)
    first, torn, last = (tmp_path / "deep/events.jsonl").read_text().splitlines()
    assert json.loads(first) == json.loads(last) == asdict(EVENT) and torn == '{"camera": "ga'


def test_the_webhook_gets_events_and_one_that_is_away_for_a_while_loses_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(webhook, "FIRST_PAUSE", 0.01)
    got, answers = list[dict[str, object]](), iter([503, 503, 200, 200])

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if (status := next(answers)) == 200:
                got.append(body)
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, args=[0.05], daemon=True).start()
        sink = Webhook(f"http://127.0.0.1:{server.server_port}/hook")
        sink.send(EVENT), sink.send(replace(EVENT, state="normal"))
        sink.close()
        server.shutdown()
    assert [event["state"] for event in got] == ["leak", "normal"] and got[0]["text"] == EVENT.text


def test_an_odd_answer_of_the_webhook_ends_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(webhook, "FIRST_PAUSE", 0.01)
    with socket.create_server(("127.0.0.1", 0)) as server:

        def talk() -> None:
            for _ in range(2 * webhook.TRIES):
                guest, _ = server.accept()
                with guest:
                    guest.recv(65536)
                    guest.sendall(b"SSH-2.0-OpenSSH\r\n")

        Thread(target=talk, daemon=True).start()
        sink = Webhook(f"http://127.0.0.1:{server.getsockname()[1]}/hook")
        sink.send(EVENT), sink.send(EVENT)
        sink.close()
    assert capsys.readouterr().err.count("webhook did not take an event (BadStatusLine)") == 2


def test_the_address_of_the_webhook_is_not_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(webhook, "FIRST_PAUSE", 0.01)
    sink = Webhook("http://127.0.0.1:9/hooks/s3cret")
    sink.send(EVENT)
    sink.close()
    said = capsys.readouterr().err
    assert "webhook did not take an event" in said and "s3cret" not in said
