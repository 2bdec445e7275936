"""A day of `watch` in some minutes: does anything grow?

A camera with a clock of its own, two pictures a second as fast as they are answered, whose state changes
every ten minutes and is doubtful in between. Compared is the resident memory after each of the last hours
with that after WARM hours; the folders must stay within what the settings allow.
"""

import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import psutil

from benchmarks.compare import Result, ratio_result
from slimstream.core.media import Frame
from slimstream.core.paths import Paths
from slimstream.watch.champion import Champion
from slimstream.watch.footage import Jpegs
from slimstream.watch.recording import Recording, Source
from slimstream.watch.settings import CameraParams, WatchParams
from slimstream.watch.watcher import Watcher
from tests.unit.watch import tiny

HOURS, WARM, FPS, HOP = 24, 2, 2, 4.0
BEGAN = 1_767_323_045.0
"""2026-01-02, in seconds since 1970."""
DOUBT = (130, 60, 130)
"""Between the two states."""


def run() -> list[Result]:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        champion = Champion(str(tiny.export(root / "model", seconds=HOP)), Paths(root), None, None)
        (root / "in").mkdir()
        settings = WatchParams(cameras={"gate": CameraParams(source=str(root / "in"))}, hop=HOP, clips=50)
        watcher = Watcher(settings, champion, Paths(root))
        watcher.outbox._sinks = watcher.outbox._sinks[1:]  # not the terminal
        camera, memory, jpegs = watcher.cameras["gate"], list[float](), Jpegs()
        shots = jpegs.passed(day(memory))
        camera._source = Source(lambda stop: iter([Recording(shots, BEGAN, jpegs)]), live=False)
        with watcher.running():
            watcher.wait()
        assert len(memory) == HOURS and not camera.failed, camera.reason
        files = {name: len(list((root / "watched" / name).iterdir())) for name in ("clips", "inbox")}
        lines = len((root / "watched/events.jsonl").read_text().splitlines())
        note = (
            f"{camera.answers} windows, {lines} events; {files['clips']} clips of at most 50, "
            f"{files['inbox'] // 2} windows in the inbox, at most 20 a day; from {memory[WARM - 1]:.1f} to "
            f"{memory[-1]:.1f} MB"
        )
        assert files["clips"] <= 50 and files["inbox"] <= 2 * 20 * 2
        after = [megabytes / memory[WARM - 1] for megabytes in memory[WARM:]]
        return [
            ratio_result("watch", f"memory, {HOURS} hours", f"after {WARM} hours", after, most=1.1, note=note)
        ]


def day(memory: list[float]) -> Iterator[tuple[float, Callable[[], Frame]]]:
    """The shots of HOURS; notes the megabytes of the process after each."""
    process = psutil.Process()
    pictures = [partial(tiny.flat, colour) for colour in (tiny.RED, DOUBT, tiny.BLUE, DOUBT)]
    for number in range(HOURS * 3600 * FPS):
        minute, second = divmod(number // FPS, 60)
        turn = minute // 10 % 2
        yield number / FPS, pictures[2 * turn + (minute % 5 == 0 and second < 20)]
        if (number + 1) % (3600 * FPS) == 0:
            memory.append(process.memory_info().rss / 1e6)
