"""Cameras that two cores can watch: 640 × 480, 25 frames a second, one answer a second each.

Counted are processor seconds, so that other programs matter little. The camera is a file of 10 s that is read
as fast as it goes; a live one needs the same work, and the network's packets.
"""

import resource
import tempfile
import time
from pathlib import Path

import torch

from benchmarks.clips import FOUR, encode
from benchmarks.compare import Result, ratio_result
from benchmarks.diagnosis import decode_av, deployed, inputs, slim_network
from benchmarks.inference import present, seen
from slimstream.core.paths import Paths
from slimstream.watch.champion import Champion
from slimstream.watch.settings import CameraParams, WatchParams
from slimstream.watch.watcher import Watcher

SECONDS, WINDOW = 10.0, 4.0
"""Of the clip, and of a window in it."""
WANTED = 16
"""Cameras on two cores."""
ROUNDS = 3


def run() -> list[Result]:
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        video = encode(root / "gate.mp4", "libx264", {"crf": "23", "g": "50"})
        clips, runtime = inputs([video], FOUR), present()[-1]
        deployed(seen(slim_network(), clips * 4), clips, root / "model", runtime, FOUR)
        bare, network, whole = [], [], []
        for _ in range(ROUNDS):
            begin = time.process_time()
            decode_av(video)
            bare.append((time.process_time() - begin) / SECONDS)
            spent, answering = watched(root, video)
            whole.append(spent)
            network.append(answering)
        served = 2 / sorted(whole)[ROUNDS // 2]
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        note = f"processor seconds; two cores serve {served:.0f} cameras; {runtime}, 4 RGB frames of Lite0"
        return [
            ratio_result(
                "watch",
                f"{WANTED} cameras",
                "two cores",
                [WANTED * s / 2 for s in whole],
                most=1.0,
                note=note,
            ),
            ratio_result(
                *("watch", "decoding, bare", "a camera"),
                [b / w for b, w in zip(bare, whole, strict=True)],
                note=f"of {1000 * sorted(whole)[ROUNDS // 2]:.0f} ms a camera and second; peak {peak:.0f} MB",
            ),
            ratio_result(
                *("watch", "packing and network", "a camera"),
                [n / w for n, w in zip(network, whole, strict=True)],
            ),
        ]


def watched(root: Path, video: Path) -> tuple[float, float]:
    """Processor seconds a second of camera: all of it, and for packing and network alone."""
    champion = Champion(str(root / "model"), Paths(root), None, WINDOW)
    settings = WatchParams(cameras={"gate": CameraParams(source=str(video))}, clips=0)
    watcher = Watcher(settings, champion, Paths(root))
    camera = watcher.cameras["gate"]
    begin = time.process_time()
    with watcher.running():
        watcher.wait()
    spent = time.process_time() - begin
    assert camera.answers == int(SECONDS - WINDOW) + 1, camera.reason
    window = camera._windows[0].window(0.0, 0.0)
    assert window is not None
    begin = time.process_time()
    for _ in range(5):
        window.answer()
    answer = (time.process_time() - begin) / 5
    # Of the first seconds no window is answered: a camera that runs for long has one a second.
    return (spent + (SECONDS - camera.answers) * answer) / SECONDS, answer
