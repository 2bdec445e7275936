"""Extraction: against the usual script, against its own parts called bare, over workers and clips."""

import resource
import tempfile
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from benchmarks.clips import P1, SIZE, read, videos
from benchmarks.compare import Result, duel, result, seconds
from slimstream.data.flow import dequantise
from slimstream.data.packs import Job, pack, pack_clip
from slimstream.data.pool import each

STEP = 5


def run() -> list[Result]:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        clip, *more = videos(root / "videos", 10, 10.0)
        usual_script(clip, root / "jpeg")
        check(clip, root / "jpeg")
        return [
            duel(
                "extract",
                ("packs", partial(pack_clip, clip, P1)),
                ("usual script: full-size flow, JPEG", partial(usual_script, clip, root / "j")),
                most=1 / 4,
                rounds=5,
                note=f"{SIZE[0]} × {SIZE[1]}, 25 fps, every fifth frame, 224 × 224",
            ),
            duel(
                "extract",
                ("packs", partial(pack_clip, clip, P1)),
                ("decode + resize + flow, bare", partial(bare, clip)),
                most=1 / 0.95,
            ),
            *ten_times(root, clip),
            workers(root, [clip, *more]),
        ]


def usual_script(clip: Path, folder: Path) -> None:
    """What is commonly written: decode all, flow at full size, three JPEG files a sampled frame."""
    folder.mkdir(exist_ok=True)
    capture = cv2.VideoCapture(str(clip))
    frames = []
    while True:
        ok, frame = capture.read()
        if not ok:
            break
        frames.append(frame)
    for i in range(0, len(frames) - 1, STEP):
        here, there = (cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY) for frame in frames[i : i + 2])
        flow = cv2.calcOpticalFlowFarneback(here, there, None, 0.5, 3, 15, 3, 5, 1.2, 0)
        flow = cv2.resize(flow, (224, 224)) * (224 / np.array(SIZE, np.float32))
        cv2.imwrite(str(folder / f"{i:04d}.jpg"), cv2.resize(frames[i], (224, 224)))
        for axis, name in enumerate("xy"):
            byte = np.clip(flow[..., axis] / P1.bound * 127 + 128, 1, 255).astype(np.uint8)
            cv2.imwrite(str(folder / f"{i:04d}-{name}.jpg"), byte)


def bare(clip: Path) -> None:
    """The least that any extraction has to do, one call after the other."""
    capture = cv2.VideoCapture(str(clip), cv2.CAP_FFMPEG)
    index, before = 0, None
    while capture.grab():
        if index % STEP < 2:
            frame = cv2.resize(capture.retrieve()[1], (224, 224), interpolation=cv2.INTER_AREA)
            grey = cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY)
            if index % STEP:
                cv2.calcOpticalFlowFarneback(before, grey, None, 0.5, 3, 15, 3, 5, 1.2, 0)
            before = grey
        index += 1


def check(clip: Path, folder: Path) -> None:
    """Both saw the same pictures and, where anything moves, much the same motion."""
    array = pack_clip(clip, P1).array
    script = sorted(folder.glob("????.jpg"))
    assert len(script) == len(array), (len(script), len(array))
    theirs = read(script[0], cv2.IMREAD_COLOR)[..., ::-1]
    assert np.abs(array[0, ..., :3].astype(int) - theirs).mean() < 6
    flow = dequantise(array[0, ..., 3], P1.bound).ravel()
    other = dequantise(read(script[0].with_stem(f"{script[0].stem}-x")), P1.bound).ravel()
    moving = np.abs(flow) > 0.5
    assert not moving.any() or np.corrcoef(flow[moving], other[moving])[0, 1] > 0.5


def workers(root: Path, files: list[Path]) -> Result:
    """Two workers against one, on the same clips."""

    def with_workers(count: int) -> float:
        out = root / "out"
        out.mkdir(exist_ok=True)
        jobs = [Job(file, out / f"{count}-{file.stem}", P1) for file in files * 5]
        return seconds(lambda: list(each(pack, jobs, count)))

    ratios = [with_workers(2) / with_workers(1) for _ in range(3)]
    return result("extract", "2 workers", "1 worker", ratios, most=1 / 1.9)


def ten_times(root: Path, clip: Path) -> list[Result]:
    """Ten times the clips: time and the peak memory of a worker, the largest of all children so far."""
    out = root / "ten"
    out.mkdir()

    def clips(count: int) -> tuple[float, float]:
        jobs = [Job(clip, out / f"{count}-{i}", P1) for i in range(count)]
        spent = seconds(lambda: list(each(pack, jobs, 1)))
        return spent, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss

    small, large = clips(3), clips(30)
    return [
        result("extract", "10 × the clips", "time", [large[0] / small[0]], most=10.5),
        result("extract", "10 × the clips", "peak memory of a worker", [large[1] / small[1]], most=1.05),
    ]
