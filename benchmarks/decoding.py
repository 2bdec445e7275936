"""Four RGB frames of a clip, decoding only the packets that they need, against decoding all of them."""

import tempfile
from functools import partial
from pathlib import Path
from unittest.mock import patch

import numpy as np

from benchmarks.clips import SIZE, encode
from benchmarks.compare import Result, compare_times
from slimstream.clips.packs import pack_clip
from slimstream.clips.params import ExtractParams, NetworkInput, Reduction
from slimstream.clips.video import VideoReader

WHOLE = ExtractParams(frames=8, size=(224, 224))
FOUR = NetworkInput.of(WHOLE, Reduction(frames=4, streams="rgb"))
VIDEOS = {
    "h264, a key frame in 250": ("libx264", {"crf": "23"}),
    "h264, a key frame in 25": ("libx264", {"crf": "23", "g": "25"}),
    "mpeg4, a key frame in 12": ("mpeg4", {"g": "12", "b": "4M"}),
    "mjpeg": ("mjpeg", {"b": "20M"}),
}


def run() -> list[Result]:
    with tempfile.TemporaryDirectory() as folder:
        results = []
        for number, (name, (codec, options)) in enumerate(VIDEOS.items()):
            video = encode(Path(folder) / f"{number}.mp4", codec, options)
            assert pack_clip(video, FOUR).array.tobytes() == whole_pass(video).tobytes()
            results += [
                compare_times(
                    "decoding",
                    ("4 RGB frames", partial(pack_clip, video, FOUR)),
                    ("the same, all packets decoded", partial(whole_pass, video)),
                    most=0.8,
                    rounds=5,
                    note=f"{name}; a clip of 10 s, {SIZE[0]} × {SIZE[1]}",
                ),
                compare_times(
                    "decoding",
                    ("4 RGB frames", partial(pack_clip, video, FOUR)),
                    ("decoding, bare", partial(decode, video)),
                    most=1.0,
                    rounds=5,
                    note=name,
                ),
            ]
        results.append(
            compare_times(
                "decoding",
                ("4 RGB frames", partial(pack_clip, video, FOUR)),
                ("8 frames and their flow", partial(pack_clip, video, WHOLE)),
                rounds=3,
                note=name,
            )
        )
        return results


def whole_pass(video: Path) -> np.ndarray:
    with patch.object(VideoReader, "skip_to", lambda reader, wanted: None):
        return pack_clip(video, FOUR).array


def decode(video: Path) -> int:
    with VideoReader(video) as clip:
        return sum(1 for _ in clip)
