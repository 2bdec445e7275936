"""Time of the whole diagnosis of a raw clip, from file to answer, against decoding it.

A slim network looks at four frames: `file to answer` is then little more than decoding the clip bare. With
optical flow it is held against decoding and flow.
"""

import json
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import av
import cv2
import torch
from torch import nn

from benchmarks.clips import FOUR, P1, surveillance_clips, videos
from benchmarks.compare import Call, Result, compare_times
from benchmarks.inference import HIDDEN, SMALL, present, pruned, seen
from slimstream.clips.packs import pack_clip
from slimstream.clips.params import ExtractParams
from slimstream.models import create_model
from slimstream.models.cost import count_params
from slimstream.runtimes import find_runtime
from slimstream.runtimes.base import Form, write_forms
from slimstream.runtimes.export import export
from slimstream.serving.classifier import ClipClassifier

CLASSES = ["normal", "air_leakage", "diverted_flow"]
FRAMES = 250
"""Fewest frames of a clip of 10 s, less one or two that a recorder may lose."""


def run(source: Path | None = None) -> list[Result]:
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        return [*slim(root, source), *with_flow(root)]


def slim(root: Path, source: Path | None) -> list[Result]:
    """Four frames by one stream of Lite0, against decoding every frame of the clip with PyAV and OpenCV.

    The network is taken whole in the most exact form of OpenVINO, and whole and pruned in the fastest.
    """
    files = surveillance_clips(root, source)
    assert all(decode_av(file) == decode_cv(file) for file in files)
    assert source or decode_av(files[0]) == FRAMES
    clips = inputs(files * 4, FOUR)[:4]
    whole = seen(slim_network(), clips)
    small = pruned(whole, clips, rate=0.5, leave=HIDDEN)
    fastest = present()[-1]
    what = {
        "whole, openvino": (whole, "openvino"),
        f"whole, {fastest}": (whole, fastest),
        f"pruned to half, {fastest}": (small, fastest),
    }
    note = f"{len(files)} clip(s) of {'a folder' if source else '10 s, 320 × 240, h264'}; 4 RGB frames, Lite0"
    results = []
    for name, (network, runtime) in what.items():
        answer = predicting(deployed(network, clips, root / name, runtime, FOUR), files)
        for peer, decode in (("PyAV", decode_av), ("OpenCV", decode_cv)):
            results.append(
                compare_times(
                    "diagnosis",
                    (f"file to answer, {name}", answer),
                    (f"decoding, bare {peer}", each(decode, files)),
                    most=1.3,
                    note=note,
                )
            )
    return results


def with_flow(root: Path) -> list[Result]:
    """50 frames and their flow by the pair of MobileViT, against decoding and flow alone."""
    (video,) = videos(root, 1, 10.0)
    pack = pack_clip(video, P1).array
    clips = [pack[i : i + 5].transpose(0, 3, 1, 2)[None].copy() for i in range(0, 20, 5)]
    original = seen(create_model("two_stream_mobilevit", len(CLASSES)), clips)
    small = pruned(original, clips, target_params=SMALL / count_params(original))
    return [
        compare_times(
            "diagnosis",
            (
                f"file to answer, {runtime}",
                predicting(deployed(small, clips, root / runtime, runtime, P1), [video]),
            ),
            ("decode + flow", partial(pack_clip, video, P1)),
            most=1.5,
            rounds=5,
            note=f"a clip of 10 s, {len(pack)} frames judged by the pair pruned to 2.13 M",
        )
        for runtime in present()
        if not find_runtime(runtime).exact
    ]


def slim_network() -> nn.Module:
    """One stream of Lite0, newly drawn."""
    return create_model("efficientnet_frames", len(CLASSES), pretrained=False)


def inputs(files: Sequence[Path], p: ExtractParams) -> list[Any]:
    """What a network sees of each file: (1, T, C, H, W) uint8."""
    return [pack_clip(file, p).array.transpose(0, 3, 1, 2)[None].copy() for file in files]


def deployed(
    model: nn.Module, clips: list[Any], folder: Path, runtime: str, p: ExtractParams
) -> ClipClassifier:
    """`model` exported as in the stage export, for one runtime; `p` makes its input."""
    export(model, clips, folder, [runtime])
    form = Form(runtime, 0, 0, 0, 0, 0)
    write_forms(folder, form, [form])
    shown = {"classes": CLASSES, "extract": p.model_dump(mode="json")}
    (folder / "preprocessing.json").write_text(json.dumps(shown))
    return ClipClassifier(folder)


def predicting(classifier: ClipClassifier, files: Sequence[Path]) -> Call:
    """A function that predicts `files` one after the other."""

    def predict(file: Path) -> None:
        (answer,) = classifier.predict([file])
        assert answer["error"] == "", answer["error"]

    return each(predict, files)


def each(work: Any, files: Sequence[Path]) -> Call:
    """A function that does `work` for each file."""
    return lambda: [work(file) for file in files]


def decode_av(file: Path) -> int:
    """Decode all frames on one thread; returns how many."""
    with av.open(str(file)) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        return sum(1 for _ in container.decode(stream))


def decode_cv(file: Path) -> int:
    """The same with OpenCV, which does not convert frames that are only grabbed."""
    capture = cv2.VideoCapture(str(file), cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])
    frames = 0
    while capture.grab():
        frames += 1
    return frames
