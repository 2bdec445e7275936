"""The inbox at work: what passes cameras is kept within bounds, and survives kills and full disks."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from slimstream.clips.video import open_clip
from slimstream.core.media import Frame
from slimstream.core.paths import Paths
from slimstream.watch.champion import Champion
from slimstream.watch.inbox import inbox as module
from slimstream.watch.inbox import labels
from slimstream.watch.inbox.inbox import Inbox
from slimstream.watch.inbox.store import Store
from slimstream.watch.model import Model
from slimstream.watch.notices import Notices
from slimstream.watch.settings import CameraParams, InboxParams, WatchParams
from slimstream.watch.watcher import Watcher
from tests.unit.finished_pipeline import render
from tests.unit.watch import tiny
from tests.unit.watch.inbox.windows import MORNING, item, kept, look


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return tiny.model(tmp_path_factory.mktemp("model"))


@contextmanager
def inbox_in(folder: Path, **settings: float) -> Iterator[Inbox]:
    inbox = Inbox(folder, InboxParams.model_validate(settings), Notices())
    yield inbox
    inbox.close()


def watch_file(root: Path, **settings: object) -> Store:
    """Let a network that is never sure watch a red file."""
    render(root / "a.mp4", "leak", 1.0)
    os.utime(root / "a.mp4", (MORNING, MORNING))
    champion = Champion(str(tiny.export(root / "model", red=0.1)), Paths(root), None, None)
    gate = CameraParams(source=str(root / "a.mp4"), region=(0.0, 0.0, 0.5, 1.0))
    params = WatchParams.model_validate({"cameras": {"gate": gate}, "agree": 1, "clips": 0, **settings})
    watcher = Watcher(params, champion, Paths(root))
    with watcher.running():
        watcher.wait()
    return Store(root / "watched/inbox")


def test_a_doubtful_window_becomes_a_clip_of_what_the_network_saw(tmp_path: Path) -> None:
    (found,) = watch_file(tmp_path).items().values()
    assert found.why == "uncertain" and found.answer == "leak" and found.camera == "gate"
    assert found.probabilities["leak"] == pytest.approx(0.51, abs=0.02)
    with open_clip(tmp_path / "watched/inbox" / found.clip) as clip:
        seen = [clip.picture() for _ in clip]
    assert len(seen) == 8 and seen[0].shape == (24, 16, 3)  # all frames, of the region alone
    assert np.abs(np.mean(seen, (0, 1, 2)) - tiny.RED).max() < 12


def test_what_a_person_said_stays_when_a_file_is_watched_again(tmp_path: Path) -> None:
    (found,) = watch_file(tmp_path).items().values()
    labels.label(Store(tmp_path / "watched/inbox"), found.id, "overflow")
    (again,) = watch_file(tmp_path).items().values()
    assert (again.id, again.label) == (found.id, "overflow")
    assert found.clip in (tmp_path / "watched/inbox/metadata.csv").read_text()


def test_without_an_inbox_no_frame_is_kept(tmp_path: Path) -> None:
    store = watch_file(tmp_path, inbox={"per_day": 0})
    assert not store.folder.exists()


def test_a_day_has_so_many_windows_a_camera_and_they_lie_apart(tmp_path: Path, model: Model) -> None:
    with inbox_in(tmp_path, per_day=2) as inbox:
        for n in range(5):
            inbox.observe(look(model, p=0.5 + n / 100, time=MORNING + 10 * n))
            tiny.until(lambda: inbox._queue.empty())
        inbox.observe(look(model, p=0.5, time=MORNING, camera="roof"))
        inbox.observe(look(model, p=0.5, time=MORNING + 2, camera="roof"))  # too soon
        inbox.observe(look(model, p=0.5, time=MORNING + 86_400))
    items = list(Store(tmp_path).items().values())
    assert sorted((i.camera, i.day) for i in items) == [
        *[("gate", "2026-01-02")] * 2,
        ("gate", "2026-01-03"),
        ("roof", "2026-01-02"),
    ]
    # Nothing is known of where they lie, so the most useful ones stay.
    assert [i.time[14:19] for i in items if (i.camera, i.day) == ("gate", "2026-01-02")] == ["04:05", "04:15"]


def test_all_is_bounded_and_dismissed_windows_go_after_a_day(tmp_path: Path, model: Model) -> None:
    old = replace(item(1), dismissed=True, decided="2026-01-02T04:00:00.000+00:00")
    store = kept(tmp_path, old, item(2, usefulness=0.5), item(3))
    labels.label(store, item(3).id, "leak")
    with inbox_in(tmp_path, most=1) as inbox:
        inbox.observe(look(model, p=0.5, time=MORNING + 3600))
    left = list(Store(tmp_path).items().values())
    assert [i.label for i in left] == ["leak", None] and left[1].time.startswith("2026-01-02T04:04")


def test_a_full_disk_is_said_once_and_windows_are_kept_again_later(
    tmp_path: Path, model: Model, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write = module.write_clip
    full: list[bool] = [True]

    def write_clip(frames: Iterator[tuple[float, Frame]], path: Path) -> None:
        if full:
            raise OSError(28, "No space left on device")
        write(frames, path)

    monkeypatch.setattr(module, "write_clip", write_clip)
    with inbox_in(tmp_path) as inbox:
        for n in range(4):
            if n == 2:
                full.clear()
            inbox.observe(look(model, p=0.5, time=MORNING + 10 * n))
            tiny.until(lambda: inbox._queue.empty())
    assert capsys.readouterr().err.count("No space left on device") == 1
    assert len(Store(tmp_path).items()) == 2


PROGRAM = """
import sys, itertools
from pathlib import Path
from slimstream.watch.inbox.inbox import Inbox
from slimstream.watch.notices import Notices
from slimstream.watch.settings import InboxParams
from tests.unit.watch import tiny
from tests.unit.watch.inbox.windows import MORNING, look
model = tiny.model(Path(sys.argv[1]) / "model")
inbox = Inbox(Path(sys.argv[1]) / "inbox", InboxParams(per_day=10_000, most=10_000), Notices())
for n in itertools.count():
    inbox.observe(look(model, p=0.5, time=MORNING + 10 * n))
    while not inbox._queue.empty():
        pass
    print(n, flush=True)
"""


def test_a_kill_at_any_moment_leaves_whole_windows(tmp_path: Path) -> None:
    here = Path(__file__).parents[4]
    environment = {**os.environ, "PYTHONPATH": f"{here / 'src'}{os.pathsep}{here}"}
    program = [sys.executable, "-c", PROGRAM, str(tmp_path)]
    writer = subprocess.Popen(program, env=environment, stdout=subprocess.PIPE, text=True)
    assert writer.stdout is not None
    put = -1
    for line in writer.stdout:
        if (put := int(line)) == 12:
            writer.send_signal(signal.SIGKILL)
            break
    writer.wait()
    store = Store(tmp_path / "inbox")
    assert put <= len(store.items()) <= put + 3  # all but the one in flight
    with inbox_in(tmp_path / "inbox"):
        names = sorted(file.name for file in store.folder.iterdir())
    assert names == sorted(f"{id}{end}" for id in store.items() for end in (".json", ".mp4"))
    for found in store.items().values():
        with open_clip(store.folder / found.clip) as clip:
            assert sum(1 for _ in clip) == 8


def test_windows_that_wait_for_a_decision_are_kept_at_the_end(tmp_path: Path, model: Model) -> None:
    with inbox_in(tmp_path) as inbox:
        inbox.observe(look(model, "normal", 0.1, state="leak"))
        assert not inbox.store.items()
    (found,) = Store(tmp_path).items().values()
    assert (found.why, found.state) == ("disagreeing", "leak")


def test_nothing_waits_for_a_slow_disk(
    tmp_path: Path, model: Model, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    blocked: list[Callable[[], None]] = []
    monkeypatch.setattr(module.Inbox, "_work", lambda self: blocked.append(self.close))
    inbox = Inbox(tmp_path, InboxParams(), Notices())
    for n in range(module.WAITING + 3):
        inbox.observe(look(model, p=0.5, time=MORNING + 10 * n))
    assert capsys.readouterr().err.count("wait for the inbox") == 1 and not inbox.store.items()
