"""Every suffix that counts as a video is one that is decoded."""

from pathlib import Path

import av
import numpy as np
import pytest

from slimstream.clips.video import frames
from slimstream.core.media import PICTURES, VIDEOS, is_picture

CONTAINERS = {
    **dict.fromkeys((".mp4", ".m4v"), ("mp4", "libx264")),
    **dict.fromkeys((".mov", ".qt"), ("mov", "libx264")),
    **{".3gp": ("3gp", "libx264"), ".3g2": ("3g2", "mpeg4"), ".f4v": ("f4v", "libx264")},
    **dict.fromkeys((".avi", ".divx"), ("avi", "mpeg4")),
    **{".mkv": ("matroska", "libx264"), ".webm": ("webm", "libvpx-vp9"), ".flv": ("flv", "libx264")},
    **{".ogv": ("ogv", "libvpx"), ".mxf": ("mxf", "mpeg2video"), ".dv": ("dv", "dvvideo")},
    **dict.fromkeys((".wmv", ".asf"), ("asf", "wmv2")),
    **dict.fromkeys((".mpg", ".mpeg", ".mpe"), ("mpeg", "mpeg1video")),
    **{
        ".vob": ("vob", "mpeg2video"),
        ".m1v": ("mpeg1video", "mpeg1video"),
        ".m2v": ("mpeg2video", "mpeg2video"),
    },
    **dict.fromkeys((".ts", ".mts", ".m2ts", ".m2t"), ("mpegts", "libx264")),
    **{".y4m": ("yuv4mpegpipe", "wrapped_avframe"), ".ivf": ("ivf", "libvpx")},
    **dict.fromkeys((".mjpeg", ".mjpg"), ("mjpeg", "mjpeg")),
    **dict.fromkeys((".h264", ".264"), ("h264", "libx264")),
    **dict.fromkeys((".h265", ".265", ".hevc"), ("hevc", "libx265")),
}
"""The format and codec that files of each suffix usually have."""


def write(path: Path, container: str, codec: str, frames: int = 6) -> None:
    width, height = (720, 576) if codec == "dvvideo" else (64, 48)
    with av.open(str(path), "w", format=container) as file:
        stream = file.add_stream(codec, rate=25, options={"x265-params": "log-level=none"})
        stream.width, stream.height = width, height
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        for number in range(frames):
            picture = np.full((height, width, 3), 20 * number, np.uint8)
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format=stream.pix_fmt)
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))


def test_each_suffix_is_tried() -> None:
    assert set(CONTAINERS) == VIDEOS
    assert not VIDEOS & PICTURES
    assert is_picture("a/b.JPEG") and is_picture("b.webp") and not is_picture("a.mp4")


@pytest.mark.parametrize("suffix", sorted(CONTAINERS))
def test_what_has_the_suffix_of_a_video_is_decoded(suffix: str, tmp_path: Path) -> None:
    container, codec = CONTAINERS[suffix]
    if codec not in av.codec.codecs_available:
        pytest.skip(f"{codec} cannot be written here")
    write(tmp_path / f"clip{suffix}", container, codec)
    assert len(list(frames(tmp_path / f"clip{suffix}"))) == 6
