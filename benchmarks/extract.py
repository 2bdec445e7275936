"""Extraction against a typical script, against its bare parts, and for more workers and more clips."""

import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from benchmarks.clips import P1, SIZE, read, videos
from benchmarks.compare import Result, compare_times, ratio_result, seconds
from slimstream.clips.flow import dequantise
from slimstream.clips.packs import PackJob, pack_clip, write_pack
from slimstream.clips.sampling import sample_indices
from slimstream.core.parallel import parallel_map

STEP = 5


def run() -> list[Result]:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        clip, *more = videos(root / "videos", 10, 10.0)
        usual_script(clip, root / "jpeg")
        check(clip, root / "jpeg")
        check_bare(clip)
        return [
            compare_times(
                "extract",
                ("packs", partial(pack_clip, clip, P1)),
                ("usual script: full-size flow, JPEG", partial(usual_script, clip, root / "j")),
                most=1 / 4,
                rounds=5,
                note=f"{SIZE[0]} × {SIZE[1]}, 25 fps, every fifth frame, 224 × 224",
            ),
            compare_times(
                "extract",
                ("packs", partial(pack_clip, clip, P1)),
                ("decode + resize + flow, bare", partial(bare, clip)),
                most=1 / 0.95,
            ),
            *ten_times(root, clip),
            workers(root, [clip, *more]),
        ]


def usual_script(clip: Path, folder: Path) -> None:
    """A typical script: decode all frames, flow at full size, three JPEG files per sampled frame."""
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


def bare(clip: Path) -> list[np.ndarray]:
    """The minimum work of any extraction for the same frames; returns the flows (H, W, 2) float32."""
    capture = cv2.VideoCapture(str(clip), cv2.CAP_FFMPEG)
    first = set(sample_indices(int(capture.get(cv2.CAP_PROP_FRAME_COUNT)), 0, P1)[0])
    index, before, flows = 0, None, []
    while capture.grab():
        if index in first or index - 1 in first:
            frame = cv2.resize(capture.retrieve()[1], (224, 224), interpolation=cv2.INTER_AREA)
            grey = cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY)
            if index - 1 in first:
                flows.append(cv2.calcOpticalFlowFarneback(before, grey, None, 0.5, 3, 15, 3, 5, 1.2, 0))
            before = grey
        index += 1
    return flows


def check(clip: Path, folder: Path) -> None:
    """Check that both give the same pictures and, where anything moves, similar flow."""
    array = pack_clip(clip, P1).array
    script = sorted(folder.glob("????.jpg"))
    assert len(script) == len(array), (len(script), len(array))
    theirs = read(script[0], cv2.IMREAD_COLOR)[..., ::-1]
    assert np.abs(array[0, ..., :3].astype(int) - theirs).mean() < 6
    flow = dequantise(array[0, ..., 3], P1.bound).ravel()
    other = dequantise(read(script[0].with_stem(f"{script[0].stem}-x")), P1.bound).ravel()
    moving = np.abs(flow) > 0.5
    assert not moving.any() or np.corrcoef(flow[moving], other[moving])[0, 1] > 0.5


def check_bare(clip: Path) -> None:
    """Check that both give the same flow, up to rounding to bytes."""
    array, flows = pack_clip(clip, P1).array, bare(clip)
    assert len(array) == len(flows), (len(array), len(flows))
    for packed, flow in zip(array[..., 3:], flows, strict=True):
        off = np.abs(dequantise(packed, P1.bound) - flow.clip(-P1.bound, P1.bound))
        assert off.max() < P1.bound / 127 * 0.501, off.max()


def peak(job: PackJob) -> int:
    """Do `job`, and return the peak memory of this process in KiB."""
    write_pack(job)
    status = Path("/proc/self/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1])


def run_in_pool(work: Callable[[Any], Any], items: Sequence[Any], count: int) -> list[Any]:
    """The results of `work` in `count` processes; a failure ends the benchmark."""
    found = []
    for _, answer in parallel_map(work, items, count):
        if isinstance(answer, Exception):
            raise answer
        found.append(answer)
    return found


def workers(root: Path, files: list[Path]) -> Result:
    """Two workers against one, on the same clips."""

    def with_workers(count: int) -> float:
        out = root / "out"
        out.mkdir(exist_ok=True)
        jobs = [PackJob(file, out / f"{count}-{file.stem}", P1) for file in files * 5]
        return seconds(lambda: run_in_pool(write_pack, jobs, count))

    ratios = [with_workers(2) / with_workers(1) for _ in range(3)]
    one, two = (sorted((root / "out").glob(f"{count}-*.npy")) for count in (1, 2))
    same = [a.read_bytes() == b.read_bytes() for a, b in zip(one, two, strict=True)]
    assert same and all(same)
    return ratio_result("extract", "2 workers", "1 worker", ratios, most=1 / 1.9)


def ten_times(root: Path, clip: Path) -> list[Result]:
    """Time (without the start of the worker) and peak memory for ten times the clips."""
    out = root / "ten"
    out.mkdir()

    def clips(count: int) -> tuple[float, int]:
        jobs = [PackJob(clip, out / f"{count}-{i}", P1) for i in range(count)]
        found: list[int] = []
        start = seconds(lambda: run_in_pool(import_pack, ["once"], 1))
        return seconds(lambda: found.extend(run_in_pool(peak, jobs, 1))) - start, max(found)

    rounds = [(clips(3), clips(30)) for _ in range(3)]
    return [
        ratio_result(
            "extract", "10 × the clips", what, [large[i] / small[i] for small, large in rounds], most=most
        )
        for i, (what, most) in enumerate((("time", 10.5), ("peak memory of a worker", 1.05)))
    ]


def import_pack(_: str) -> None:
    """Do nothing, in a process that has imported everything that `write_pack` needs."""
