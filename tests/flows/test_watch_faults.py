"""`watch` is killed and started again, and its disk fills up: what is there stays whole, the rest goes on."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import pytest

from slimstream.clips.video import open_clip
from slimstream.core.paths import Paths
from slimstream.watch.champion import Champion
from slimstream.watch.inbox.store import Store
from slimstream.watch.settings import CameraParams, WatchParams
from slimstream.watch.watcher import Watcher
from tests.pipeline.test_full_disk import Disk
from tests.unit.finished_pipeline import render
from tests.unit.watch import tiny

pytestmark = pytest.mark.box

FILES = 12


@contextmanager
def command(root: Path) -> Iterator[subprocess.Popen[bytes]]:
    """`watch` of the folder `in`, by a network that is never sure."""
    (root / "watch.yaml").write_text("agree: 1\n")
    program = [sys.executable, "-m", "slimstream", "--root", str(root), "watch", str(root / "in")]
    watch = subprocess.Popen(
        [*program, "--settings", str(root / "watch.yaml"), "--model", str(root / "model"), "--port", "0"]
    )
    try:
        yield watch
    finally:
        watch.kill()
        watch.wait()


def progress(root: Path) -> int:
    """Number of files that were read."""
    file = root / "watched/in.progress"
    return file.read_bytes().count(b"\n") if file.exists() else 0


def test_after_a_kill_it_goes_on_where_it_was(tmp_path: Path) -> None:
    tiny.export(tmp_path / "model", red=0.1)
    for number in range(FILES):
        file = tmp_path / f"in/{number}.mp4"
        render(file, ("leak", "normal")[number % 2], 1.0)
        os.utime(file, (1000 + 10 * number, 1000 + 10 * number))
    with command(tmp_path) as watch:
        tiny.until(lambda: progress(tmp_path) >= 4)
        watch.send_signal(signal.SIGKILL)
        watch.wait()
    killed = progress(tmp_path)
    log = tmp_path / "watched/events.jsonl"
    before = [json.loads(line)["time"] for line in log.read_text().splitlines()]
    assert before and before == sorted(before)  # all lines are whole
    with command(tmp_path) as watch:
        tiny.until(lambda: progress(tmp_path) >= FILES)
        watch.send_signal(signal.SIGTERM)
        assert watch.wait(30) == 0
    times = [json.loads(line)["time"] for line in log.read_text().splitlines()]
    assert times[: len(before)] == before and times == sorted(times)
    assert FILES - 1 <= len(set(times)) <= len(times) <= FILES + 1  # each file has another state
    assert killed < FILES  # it was killed in the middle
    items = Store(tmp_path / "watched/inbox").items().values()
    seen = {round(datetime.fromisoformat(item.time).timestamp()) for item in items}
    assert {1000 + 10 * number for number in range(killed, FILES)} <= seen  # all since the start
    assert not list((tmp_path / "watched/inbox").glob("temporary-*"))
    for item in items:
        with open_clip(tmp_path / "watched/inbox" / item.clip) as clip:
            assert sum(1 for _ in clip) == 8


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    (tmp_path / "watched").mkdir()
    try:
        found = Disk(tmp_path / "watched")
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("only root may mount a file system")
    yield found
    subprocess.run(["umount", "--lazy", tmp_path / "watched"], check=True)


def test_on_a_full_disk_cameras_go_on_and_events_are_written_again_later(
    tmp_path: Path, disk: Disk, capsys: pytest.CaptureFixture[str]
) -> None:
    champion = Champion(str(tiny.export(tmp_path / "model")), Paths(tmp_path), None, None)
    shows = [tiny.RED]
    with tiny.http_camera(lambda: shows[0]) as address:
        cameras = {"gate": CameraParams(source=address)}
        watcher = Watcher(WatchParams(cameras=cameras, hop=0.1, agree=2), champion, Paths(tmp_path))
        camera, log = watcher.cameras["gate"], tmp_path / "watched/events.jsonl"
        with watcher.running():
            tiny.until(lambda: log.exists() and log.read_text().count("\n") == 1)
            tiny.until(lambda: list(watcher.clips.folder.glob("2*.mp4")))
            disk.leave(0)
            for colour in [tiny.BLUE, tiny.RED] * 20:  # pages of the file take up to 4 KB more
                before, shows[0] = camera.state, colour
                tiny.until(lambda before=before: camera.state != before)  # type: ignore[misc]
            disk.leave(8000)
            shows[0] = tiny.BLUE
            tiny.until(lambda: camera.state == "normal")
            tiny.until(lambda: watcher.outbox.sent == 42)
    assert not camera.failed
    lines = [json.loads(line) for line in log.read_text().splitlines() if line.endswith("}")]
    assert 2 <= len(lines) < 42 and lines[-1]["state"] == "normal"
    assert 1 <= capsys.readouterr().err.count("No space left on device") <= 4  # each thing once
