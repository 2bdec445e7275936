"""A camera at work: states from a live stream, breaks, a machine that is too slow, a network that changes."""

import json
import shutil
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path
from threading import Thread

import pytest

from slimstream.core.paths import Paths
from slimstream.watch import camera as module
from slimstream.watch import files
from slimstream.watch.camera import Camera, Shared
from slimstream.watch.champion import Champion
from slimstream.watch.model import Model
from slimstream.watch.pending import Pending
from slimstream.watch.recording import Recording
from slimstream.watch.settings import CameraParams, WatchParams
from slimstream.watch.turns import Turns
from slimstream.watch.watcher import Watcher
from slimstream.watch.windows import Window
from tests.unit.finished_pipeline import render
from tests.unit.watch import tiny


@contextmanager
def watching(root: Path, **sources: str) -> Iterator[Watcher]:
    """Everything but the page, with the tiny network."""
    champion = Champion(str(tiny.export(root / "model")), Paths(root), None, None)
    cameras = {name: CameraParams(source=source) for name, source in sources.items()}
    settings = WatchParams(cameras=cameras, hop=0.1, agree=2, clip_seconds=1)
    watcher = Watcher(settings, champion, Paths(root))
    with watcher.running():
        yield watcher


def events(root: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (root / "watched/events.jsonl").read_text().splitlines()]


def test_a_live_stream_changes_its_state_breaks_and_comes_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(module, "PAUSES", (0.05, 0.1))
    shows: list[tuple[int, int, int] | None] = [tiny.RED]
    with tiny.http_camera(lambda: shows[0]) as address, ExitStack() as stack:
        secret = address.replace("http://", "http://admin:s3cret@") + "?key=hidden"
        watcher = stack.enter_context(watching(tmp_path, gate=secret))
        camera = watcher.cameras["gate"]
        tiny.until(lambda: camera.state == "leak")
        shows[0] = tiny.BLUE
        tiny.until(lambda: camera.state == "normal")
        shows[0] = None
        tiny.until(lambda: camera.status == "gone")
        assert camera.state == "normal" and camera.since <= time.time()
        shows[0] = tiny.BLUE
        tiny.until(lambda: camera.status == "live")
        snapshot = watcher.snapshot()
    told = [(event["kind"], event["state"], event["before"]) for event in events(tmp_path)]
    assert told == [
        ("state", "leak", None),
        ("state", "normal", "leak"),
        ("gone", None, None),
        ("back", None, None),
    ]
    first = events(tmp_path)[0]
    assert (tmp_path / "watched/clips" / str(first["clip"])).stat().st_size > 0
    assert first["version"] == str(tmp_path / "model") and 0.5 < float(str(first["probability"])) <= 1
    said = "".join([str(snapshot), *capsys.readouterr(), (tmp_path / "watched/events.jsonl").read_text()])
    assert "s3cret" not in said and "hidden" not in said
    (shown,) = snapshot["cameras"]
    assert shown["breaks"] == 1 and 0 < shown["latency"] < 30 and len(shown["segments"]) == 4


def test_a_stream_that_changes_its_size_and_sends_garbage_goes_on(tmp_path: Path) -> None:
    sizes, jpegs, shows = count(), count(), [tiny.RED]
    with (
        tiny.http_camera(
            lambda: shows[0],
            size=lambda: (24, 32) if next(sizes) < 60 else (48, 40),
            spoil=lambda jpeg: jpeg[: len(jpeg) // 2] if next(jpegs) % 10 == 5 else jpeg,
        ) as address,
        watching(tmp_path, gate=address) as watcher,
    ):
        camera = watcher.cameras["gate"]
        tiny.until(lambda: camera.state == "leak")
        tiny.until(lambda: next(sizes) > 120)
        shows[0] = tiny.BLUE
        tiny.until(lambda: camera.state == "normal")
        assert camera.failed == 0


def test_of_files_every_window_is_answered_and_the_command_ends(tmp_path: Path) -> None:
    for number, label in enumerate(("leak", "normal", "leak")):
        render(tmp_path / f"in/{number}.mp4", label, 1.0)
    (tmp_path / "bad.mp4").write_bytes(b"no video")
    names = {f"file{n}": str(tmp_path / f"in/{n}.mp4") for n in range(3)}
    with watching(tmp_path, bad=str(tmp_path / "bad.mp4"), **names) as watcher:
        assert watcher.wait()  # something has no answer
    shown = {camera["name"]: camera for camera in watcher.snapshot()["cameras"]}
    assert [shown[f"file{n}"]["label"] for n in range(3)] == ["leak", "normal", "leak"]
    assert [shown[f"file{n}"]["answers"] for n in range(3)] == [1, 1, 1]
    assert shown["bad"]["failed"] == 1 and "no video stream" in shown["bad"]["reason"]


def test_a_folder_that_is_away_for_a_while_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PAUSES", (0.05, 0.1))
    monkeypatch.setattr(files, "LOOK", 0.05)
    folder = tmp_path / "share"
    render(folder / "a.mp4", "leak", 1.0)
    with watching(tmp_path, gate=str(folder)) as watcher:
        camera = watcher.cameras["gate"]
        tiny.until(lambda: camera.answers > 0)
        shutil.move(folder, tmp_path / "away")
        tiny.until(lambda: camera.status == "gone")
        assert str(folder) in camera.reason
        shutil.move(tmp_path / "away", folder)
        before = camera.answers
        render(folder / "b.mp4", "normal", 1.0)
        tiny.until(lambda: camera.answers > before and camera.status == "live")
    assert {"gone", "back"} <= {event["kind"] for event in events(tmp_path)}


def test_a_file_shorter_than_a_window_is_a_clip_as_a_whole(tmp_path: Path) -> None:
    render(tmp_path / "a.mp4", "normal", 1.0)  # 0.32 s
    champion = Champion(str(tiny.export(tmp_path / "model")), Paths(tmp_path), None, window=5.0)
    settings = WatchParams(cameras={"a": CameraParams(source=str(tmp_path / "a.mp4"))})
    watcher = Watcher(settings, champion, Paths(tmp_path))
    with watcher.running():
        watcher.wait()
    assert watcher.cameras["a"].answers == 1


def test_a_slow_machine_drops_windows_and_keeps_the_newest(tmp_path: Path) -> None:
    model, pending, seen = tiny.model(tmp_path / "model"), Pending(), list[float]()

    def window(number: float) -> Window:
        return Window(model, [], [], number, 0.0)

    assert not pending.put("a", window(1), lambda w: seen.append(w.time))
    assert not pending.put("b", window(2), lambda w: seen.append(w.time))
    assert pending.put("a", window(3), lambda w: seen.append(w.time))
    assert len(pending._waiting) == 2
    stop = module.Flag()

    def last(w: Window) -> None:
        seen.append(w.time)
        stop.set()

    pending.put("c", window(4), last)
    pending.answer_all(stop)
    assert seen == [3, 2, 4]


def test_windows_of_a_camera_that_is_being_answered_wait(tmp_path: Path) -> None:
    """Two threads answer: those of one camera must not overtake each other."""
    model, pending, stop, busy, most = tiny.model(tmp_path / "model"), Pending(), module.Flag(), [0], [0]

    def slowly(window: Window) -> None:
        busy[0] += 1
        most[0] = max(most[0], busy[0])
        time.sleep(0.05)
        busy[0] -= 1

    threads = [Thread(target=pending.answer_all, args=[stop]) for _ in range(2)]
    for thread in threads:
        thread.start()
    for _ in range(5):
        pending.put("a", Window(model, [], [], 0.0, 0.0), slowly)
        time.sleep(0.02)
    pending.until_idle("a", stop)
    stop.set()
    assert most == [1]
    for thread in threads:
        thread.join()


@pytest.mark.parametrize("size", [(16, 24), (32, 24)], ids=["same size", "another size"])
def test_a_new_network_takes_over_without_a_window_lost(tmp_path: Path, size: tuple[int, int]) -> None:
    old = tiny.model(tmp_path / "old")
    new = tiny.model(tmp_path / "new", sees=tiny.SEES.model_copy(update={"size": size}))
    models, asked = [old], list[Model]()

    class Asked(Pending):
        def put(self, camera: str, window: Window, done: object) -> bool:
            asked.append(window.model)
            return False

    params = CameraParams(source="rig://1")
    settings = WatchParams(cameras={"a": params}, hop=0.1)
    shared = Shared(
        settings,
        tmp_path,
        lambda: models[-1],
        Asked(),
        None,  # type: ignore[arg-type]
        [],
        Turns([], 20),
        module.Flag(),
    )
    camera = Camera("a", params, shared)

    def shots() -> Iterator[tuple[float, object]]:
        for number in range(60):
            if number == 30:
                models.append(new)
            yield number / 25, lambda: tiny.flat(tiny.RED)

    camera._look(Recording(shots(), 0.0))  # type: ignore[arg-type]
    assert len(asked) == 1 + (60 - 8) // 2.5
    first = asked.index(new)
    assert set(asked[:first]) == {old} and set(asked[first:]) == {new}
    assert first <= (10 if size == (16, 24) else 13)
