"""Cameras that two cores can watch: 640 × 480, 25 frames a second, one answer a second each.

The cameras are streams over HTTP in real time (`benchmarks.streams`). The network has learnt nothing: its
answers change at random and are not sure. So `agree` is 1 and `margin` 0, or every window would be kept for
the inbox, and events have no clips: both are rare, and a kept window is measured for itself. Counted are
processor seconds of this process, so that other programs matter little. The delay is that from the sending
of a window's last frame to its event in the file; the memory is that of each further camera.
"""

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import psutil
import torch

from benchmarks.clips import FOUR, encode
from benchmarks.compare import Result, ratio_result
from benchmarks.diagnosis import decode_av, deployed, inputs, slim_network
from benchmarks.inference import present, seen
from benchmarks.streams import CLOCK
from slimstream.cli.memory import share_memory
from slimstream.core.parallel import cores
from slimstream.core.paths import Paths
from slimstream.watch.champion import Champion
from slimstream.watch.events import Event
from slimstream.watch.inbox.clip import write_clip
from slimstream.watch.looks import Look
from slimstream.watch.settings import CameraParams, InboxParams, WatchParams
from slimstream.watch.watcher import Watcher

SECONDS, WINDOW = 10.0, 4.0
"""Of the clip, and of a window in it."""
WANTED = 16
"""Cameras on two cores."""
DELAY, MEGABYTES = 2.0, 60.0
"""At most: seconds from a frame to its event, memory of a camera."""
ROUNDS, LENGTH, CAMERAS = 3, 8.0, 4
"""Rounds, seconds of each, and cameras at once."""
FPS = 25


def run() -> list[Result]:
    torch.manual_seed(0)
    share_memory(cores())  # as the command does
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        video = encode(root / "gate.mp4", "libx264", {"crf": "23", "g": "50", "bf": "0"})
        clips, runtime = inputs([video], FOUR), present()[-1]
        deployed(seen(slim_network(), clips * 4), clips, root / "model", runtime, FOUR)
        bare = []
        for _ in range(ROUNDS):
            begin = time.process_time()
            decode_av(video)
            bare.append((time.process_time() - begin) / SECONDS)
        one, several = watched(root, video, 1), watched(root, video, CAMERAS)
        cost = statistics.median(several.spent)
        each = (several.megabytes - one.megabytes) / (CAMERAS - 1)
        note = f"processor seconds; two cores serve {2 / cost:.0f} cameras; {runtime}, 4 RGB frames of Lite0"
        return [
            ratio_result(
                *("watch", f"{WANTED} cameras", "two cores"),
                [WANTED * spent / 2 for spent in several.spent],
                most=1.0,
                note=note,
            ),
            ratio_result(
                *("watch", "decoding, bare", "a camera"),
                [b / w for b, w in zip(bare, several.spent, strict=True)],
                note=f"of {1000 * cost:.0f} ms a camera and second; a kept window {several.kept:.1f} s more",
            ),
            ratio_result(
                *("watch", "packing and network", "a camera"), [several.answer / w for w in several.spent]
            ),
            ratio_result(
                *("watch", "frame to event", f"{DELAY:.0f} s"),
                [delay / DELAY for delay in one.delays + several.delays],
                most=1.0,
                note=f"{1000 * max(one.delays + several.delays):.0f} ms at most",
            ),
            ratio_result(
                *("watch", "memory of a camera", f"{MEGABYTES:.0f} MB"),
                [each / MEGABYTES],
                most=1.0,
                note=f"{each:.0f} MB; with {CAMERAS} cameras {several.megabytes:.0f} MB in all",
            ),
        ]


@dataclass
class Watched:
    """How it was to watch."""

    spent: list[float] = field(default_factory=list)
    """Processor seconds a second of camera, by round."""
    answer: float = 0.0
    """The same of packing and network alone."""
    delays: list[float] = field(default_factory=list)
    """Seconds from a frame to its event."""
    kept: float = 0.0
    """Processor seconds of a kept window."""
    megabytes: float = 0.0
    """Resident memory of the process."""


def watched(root: Path, video: Path, count: int) -> Watched:
    """Watch `count` cameras in real time."""
    champion = Champion(str(root / "model"), Paths(root), None, WINDOW)
    with camera(video) as address:
        cameras = {f"gate{n}": CameraParams(source=address) for n in range(count)}
        settings = WatchParams(
            cameras=cameras,
            agree=1,
            clips=0,
            folder=Path(f"watched{count}"),
            inbox=InboxParams(margin=0.0),
        )
        watcher = Watcher(settings, champion, Paths(root))
        found, process, probe = Watched(), psutil.Process(), Probe()
        watcher.outbox._sinks = [*watcher.outbox._sinks, probe]
        looked = list(watcher.cameras.values())
        with watcher.running():
            end = time.monotonic() + 60
            while not all(camera.answers > 2 for camera in looked):
                assert time.monotonic() < end, [camera.reason for camera in looked]
                time.sleep(0.1)
            looks = list[Look]()
            looked[0]._observers = [*looked[0]._observers, looks.append]
            for _ in range(ROUNDS):
                frames, begin = sum(camera.frames for camera in looked), time.process_time()
                time.sleep(LENGTH)
                used = time.process_time() - begin
                found.spent.append(used * FPS / (sum(camera.frames for camera in looked) - frames))
            late = max((c._last[0] % CLOCK) - c._windows[0]._seconds[-1] for c in looked)
            found.megabytes = process.memory_info().rss / 1e6
        assert not any(camera.failed for camera in looked)
        window = looks[-1].window
        found.delays = [late + delay for delay in probe.delays]
        begin = time.process_time()
        for _ in range(5):
            window.answer()
        found.answer = (time.process_time() - begin) / 5
        begin = time.process_time()
        assert window.originals is not None
        write_clip(window.originals(), root / "kept.mp4")
        found.kept = time.process_time() - begin
        return found


class Probe:
    """The last of the sinks: when an event comes here, all others have it."""

    name = "the probe"

    def __init__(self) -> None:
        self.delays: list[float] = []
        """Seconds from the coming in of a window's last frame."""

    def send(self, event: Event) -> None:
        self.delays.append(time.time() - datetime.fromisoformat(event.time).timestamp())

    def close(self) -> None: ...


@contextmanager
def camera(video: Path) -> Iterator[str]:
    """The address of a camera that sends `video`, from a process of its own."""
    program = [sys.executable, "-m", "benchmarks.streams", str(video)]
    server = subprocess.Popen(program, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        yield server.stdout.readline().strip()
    finally:
        server.kill()
        server.wait()
