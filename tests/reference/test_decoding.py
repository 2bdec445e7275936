"""`VideoReader` against `ffmpeg` itself: codecs, pixel formats, colour matrices, ranges, interlacing.

Needs the program ffmpeg (Debian: ffmpeg), which renders each small clip and decodes it for comparison.
"""

import shutil
import subprocess
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pytest

from slimstream.clips.video import VideoReader
from slimstream.core.media import UnreadableVideo

pytestmark = [
    pytest.mark.box,
    pytest.mark.skipif(not shutil.which("ffmpeg"), reason="the program ffmpeg is not installed"),
]

FRAMES = 6


class Case(NamedTuple):
    """A clip to be rendered, and how."""

    suffix: str
    codec: str
    pixels: str
    matrix: str = "unknown"
    range: str = "unknown"
    interlaced: str = ""
    """Field order, tff or bff; "" is progressive."""

    def __str__(self) -> str:
        return "-".join(filter(None, self))


FORMATS = {
    ("mkv", "ffv1"): "yuv420p yuv422p yuv444p yuv410p yuv411p yuv440p yuv420p10le yuv422p10le yuv444p12le "
    "yuv420p16le yuva420p yuva444p gray gray10le gray16le gbrp10le gbrp16le bgr0 bgra rgb48le",
    (
        "nut",
        "rawvideo",
    ): "nv12 nv21 p010le uyvy422 yuyv422 rgb24 bgr24 rgb565le rgba64le gbrpf32le monow "
    "pal8 ya8 gray12le xyz12le yuvj420p yuvj422p yuvj444p rgb8 argb bayer_rggb8",
    ("mp4", "libx264"): "yuv420p yuv422p yuv444p nv12 yuv420p10le yuv422p10le yuv444p10le gray yuvj420p",
    ("mp4", "libx265"): "yuv420p yuv422p yuv444p yuv420p10le yuv420p12le gray gbrp",
    ("mov", "prores_ks"): "yuv422p10le yuv444p10le yuva444p10le",
    ("mov", "qtrle"): "rgb24 argb gray rgb555be",
    ("avi", "mjpeg"): "yuvj420p yuvj422p yuvj444p",
    ("avi", "huffyuv"): "yuv422p rgb24 bgra",
    ("avi", "utvideo"): "yuv420p yuv422p gbrp gbrap",
    ("avi", "mpeg4"): "yuv420p",
    ("avi", "msmpeg4v3"): "yuv420p",
    ("webm", "libvpx"): "yuv420p yuva420p",
    ("webm", "libvpx-vp9"): "yuv420p yuv422p yuv444p yuv440p yuv420p10le gbrp",
    ("mp4", "libaom-av1"): "yuv420p yuv420p10le yuv444p gray",
    ("ts", "mpeg2video"): "yuv420p yuv422p",
    ("mpg", "mpeg1video"): "yuv420p",
    ("wmv", "wmv2"): "yuv420p",
    ("flv", "flv"): "yuv420p",
    ("ogv", "libtheora"): "yuv420p yuv422p yuv444p",
    ("mxf", "mpeg2video"): "yuv422p",
    ("y4m", "wrapped_avframe"): "yuv420p yuv422p yuv444p gray",
    ("3gp", "h263"): "yuv420p",
    ("h264", "libx264"): "yuv420p",
    ("mts", "libx264"): "yuv420p",
}
MATRICES = ["gbr", "bt709", "fcc", "bt470bg", "smpte170m", "smpte240m", "bt2020nc"]
UNKNOWN = ["ycgco", "bt2020c", "smpte2085", "chroma-derived-nc", "chroma-derived-c", "ictcp"]
CASES = [
    *(Case(*where, pixels) for where, several in FORMATS.items() for pixels in several.split()),
    *(
        Case(suffix, codec, pixels, matrix, range_)
        for (suffix, codec, pixels), matrix, range_ in product(
            [("mp4", "libx264", "yuv420p"), ("mkv", "ffv1", "yuv422p10le"), ("mp4", "libx265", "yuv444p")],
            MATRICES[1:],
            ("tv", "pc"),
        )
    ),
    *(
        Case(suffix, codec, pixels, matrix, "unknown", order)
        for (suffix, codec, pixels), matrix, order in product(
            [
                ("mp4", "libx264", "yuv420p"),
                ("ts", "libx264", "yuv422p"),
                ("mpg", "mpeg2video", "yuv420p"),
                ("mkv", "mpeg4", "yuv420p"),
                ("mov", "mpeg2video", "yuv422p"),
                ("mkv", "ffv1", "yuv420p"),
            ],
            ("unknown", "bt709"),
            ("tff", "bff"),
        )
    ),
]


def size(case: Case) -> tuple[int, int]:
    """Width and height: odd where the format allows it."""
    if case.codec == "h263":
        return 176, 144
    return (130, 98) if case.codec not in ("ffv1", "rawvideo", "utvideo") else (132, 96)


def source(width: int, height: int) -> bytes:
    """Coloured waves that move, as raw RGB; every line of every frame differs."""
    y, x = np.mgrid[:height, :width]
    frames = [
        np.stack([np.sin(x / 9 + y / 17 + k), np.sin(x / 13 - y / 5 - k), np.cos(x / 7 + k / 2)], -1)
        for k in range(FRAMES)
    ]
    return (128 + 100 * np.array(frames)).astype(np.uint8).tobytes()


def render(case: Case, folder: Path) -> Path:
    width, height = size(case)
    path = folder / f"clip.{case.suffix}"
    tags = f"format={case.pixels},setparams=range={case.range}:colorspace={case.matrix}"
    coding = ["-c:v", case.codec, "-q:v", "2", "-b:v", "2M"]
    if case.interlaced:
        tags += f",setfield={case.interlaced}"
        coding += ["-flags", "+ildct+ilme", "-top", "1" if case.interlaced == "tff" else "0"]
        if case.codec == "libx264":
            coding += ["-x264opts", f"{case.interlaced}=1"]
    if case.suffix == "mxf":
        coding += ["-b:v", "50M", "-r", "25", "-s", "720x576"]
    raw = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", "25", "-i", "-"]
    made = run([*raw, "-vf", tags, *coding, "-strict", "-1", "-bitexact", str(path)], source(width, height))
    if made.returncode:
        pytest.skip(f"this ffmpeg cannot write it: {made.stderr.decode().strip().splitlines()[-1]}")
    return path


def run(arguments: list[str], given: bytes = b"") -> "subprocess.CompletedProcess[bytes]":
    return subprocess.run(["ffmpeg", "-v", "error", "-y", *arguments], input=given, capture_output=True)


def reference(path: Path, shape: tuple[int, ...], case: Case) -> npt.NDArray[np.int64]:
    filters = "bwdif=mode=send_frame:deint=interlaced" if case.interlaced else "null"
    if case.codec in ("libx264", "libx265") and case.pixels[3:6] in ("420", "422") and "p1" in case.pixels:
        # Where colour lies is said by these streams; older versions of ffmpeg want to be told.
        filters += f",scale=in_h_chr_pos=0:in_v_chr_pos={128 if '420' in case.pixels else 0}"
    out = run(
        ["-i", str(path), "-vf", filters, "-vsync", "passthrough", "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    )
    return np.frombuffer(out.stdout, np.uint8).reshape(-1, *shape).astype(np.int64)


def decode(path: Path) -> npt.NDArray[np.int64]:
    with VideoReader(path) as clip:
        return np.stack([clip.picture() for _ in clip]).astype(np.int64)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_frames_are_those_of_ffmpeg(case: Case, tmp_path: Path) -> None:
    path = render(case, tmp_path)
    ours, again = decode(path), decode(path)
    assert np.array_equal(ours, again)
    theirs = reference(path, ours.shape[1:], case)
    assert len(ours) == len(theirs) == FRAMES
    # Versions of the filter differ in the first and last frame, which lack a neighbour.
    inner = slice(1, -1) if case.interlaced else slice(None)
    assert np.abs(ours[inner] - theirs[inner]).max() <= 2
    with VideoReader(path) as clip:
        assert clip.claimed_timeline() is not None and len(clip.claimed_timeline().times) == sum(
            1 for _ in clip
        )
        assert (clip.interlaced > 0) == bool(case.interlaced) and not clip.damaged


@pytest.mark.parametrize("matrix", UNKNOWN)
@pytest.mark.parametrize("range_", ["tv", "pc"])
def test_a_matrix_that_is_not_converted_is_named(matrix: str, range_: str, tmp_path: Path) -> None:
    path = render(Case("mp4", "libx264", "yuv420p", matrix, range_), tmp_path)
    with pytest.raises(UnreadableVideo, match=r"colour matrix [A-Za-z]"):
        decode(path)


def test_there_are_at_least_a_hundred() -> None:
    assert len(CASES) >= 100
