"""Footage of the simulated rig as `watch` measures it, undisturbed and disturbed, for the part drift.

A cycle is a minute of the script of `rig://`. Every cycle is rendered anew, at two frames a second, and gives
seven windows of four seconds, which Lite0 answers; its head and its reference know eight other recordings.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch

from benchmarks.int8 import STRENGTH, Features
from slimstream.clips.packs import resize
from slimstream.models import create_model
from slimstream.runtimes.appearance import appearance, mean_picture
from slimstream.runtimes.seen import Seen
from slimstream.stages.export.calibrate import Judged, calibrate
from slimstream.stages.ingest.plants.rig import STATES, RigClip, render
from slimstream.training.closed_form import linear_classifier, standardisation
from slimstream.watch.drift.blocks import FEATURES, Measured
from slimstream.watch.drift.scene import small_scene

SCRIPT = (("normal", 20), ("air_leakage", 15), ("normal", 10), ("diverted_flow", 15))
FPS, FRAMES, HOP = 2.0, 8, 16
"""Frames a second; frames of a window, and from one window to the next."""
SIZE = 128, 128
LEARNT, CLIPS = 8, 3
"""Recordings that are learnt from, and clips of each state in each."""
KEEP = 0.95
Array = npt.NDArray[Any]
NOISE = np.random.default_rng(0).normal(0, 4, (176, 224, 3))
"""Of the sensor, in grey values."""
Change = Callable[[Array, np.random.Generator], Array]
"""What happens to a frame (H, W, 3) uint8 on its way from the lens."""


def noisy(frame: Array, rng: np.random.Generator) -> Array:
    """Noise of the sensor again, which a change of the light before it does not take away."""
    (height, width), (y, x) = frame.shape[:2], rng.integers(0, 32, 2)
    return np.clip(frame + NOISE[y : y + height, x : x + width], 0, 255).astype(np.uint8)


def shifted(share: float, degrees: float = 0.0) -> Change:
    """The camera has moved by a share of the picture's width, and turned."""

    def change(frame: Array, _: np.random.Generator) -> Array:
        height, width = frame.shape[:2]
        matrix = cv2.getRotationMatrix2D((width / 2, height / 2), degrees, 1.0)
        matrix[:, 2] += share * width * np.array([0.8, 0.6])
        return np.asarray(cv2.warpAffine(frame, matrix, (width, height), borderMode=cv2.BORDER_REFLECT_101))

    return change


def covered(light: float, blur: float) -> Change:
    """Something before the lens leaves a share of the light, and blurs by so many pixels."""
    return lambda frame, rng: noisy(light * cv2.GaussianBlur(frame, (0, 0), blur).astype(float), rng)


def lit(gain: float, gamma: float, colour: tuple[float, float, float]) -> Change:
    """Another light: a gain, a gamma and factors of blue, green and red."""
    return lambda frame, rng: noisy(255 * (frame / 255) ** gamma * gain * np.array(colour), rng)


def dirt(drops: int) -> Change:
    """Dark, blurred drops on the lens, always the same."""
    rng = np.random.default_rng(5)
    mask = np.zeros((144, 192), np.float32)
    for _ in range(drops):
        x, y, radius = rng.integers(0, 192), rng.integers(0, 144), rng.integers(6, 16)
        cv2.circle(mask, (int(x), int(y)), int(radius), 1.0, -1)
    mask = cv2.GaussianBlur(mask, (0, 0), 3)[..., None]

    def change(frame: Array, rng: np.random.Generator) -> Array:
        seen = frame * (1 - mask) + 0.6 * cv2.GaussianBlur(frame, (0, 0), 6) * mask
        return noisy(seen, rng)

    return change


@dataclass
class Learnt:
    """Lite0 with a head and a reference from clips of the recordings 0 to LEARNT - 1."""

    def __post_init__(self) -> None:
        self._body = Features(create_model("efficientnet_frames", len(STATES))).eval()
        clips = [
            (number, state, RigClip(number, name, clip, FRAMES / FPS, FPS, 0))
            for number in range(LEARNT)
            for state, name in enumerate(STATES)
            for clip in range(CLIPS)
        ]
        pictures = [[rgb(frame) for frame in render(clip)] for _, _, clip in clips]
        group, truth = (np.array([row[i] for row in clips]) for i in (0, 1))
        x = np.stack([self.features(frames) for frames in pictures])
        judged = [Judged(group != g, group == g) for g in range(LEARNT)]
        logits = np.zeros((len(x), len(STATES)))
        for j in judged:
            logits[j.held] = head(x[j.known], truth[j.known])(x[j.held])
        self._head = head(x, truth)
        fitted = calibrate(logits, x, truth, len(STATES), judged, KEEP)
        self.calibration = fitted.calibration
        looks = np.stack([appearance(mean_picture(frames)) for frames in pictures])
        self.seen = Seen(np.hstack([looks, fitted.numbers]), truth, group)

    @cached_property
    def model(self) -> Any:
        """What `Monitor.see` asks of a `watch.model.Model`."""
        classifier = SimpleNamespace(seen=self.seen, classes=list(STATES))
        return SimpleNamespace(name="rig 1", size=SIZE, classifier=classifier)

    def features(self, frames: list[Array]) -> Array:
        clip = np.stack(frames[1::2]).transpose(0, 3, 1, 2)[None].copy()
        with torch.inference_mode():
            return np.asarray(self._body(torch.from_numpy(clip)).numpy()[0])

    def measure(self, frames: list[Array]) -> Measured:
        """As `blocks.measure` does it for a window of `watch`."""
        x = self.features(frames)[None]
        p, unlikeness = self.calibration.answer(np.hstack([self._head(x), x]), len(STATES))
        assert self.calibration.reference is not None
        mean = mean_picture(frames)
        few = self.calibration.reference.place(x)[0, :FEATURES]
        values = np.concatenate([appearance(mean), unlikeness, p.max(1), few]).astype(float)
        state = "unknown" if unlikeness[0] > 1 else STATES[int(p.argmax())]
        return Measured(values, state, small_scene(mean))


def head(x: Array, truth: Array) -> Callable[[Array], Array]:
    """A linear head fitted to features (N, F): features to logits."""
    centre, scale = standardisation(x)
    weight, bias = linear_classifier((x - centre) / scale, truth, len(STATES), STRENGTH)
    return lambda shown: np.asarray((shown - centre) / scale @ weight.T + bias)


def cycles(
    learnt: Learnt, recording: int, first: int, count: int, change: Change | None = None
) -> Iterator[list[Measured]]:
    """Yield the windows of `count` cycles before the camera `recording`; `first` numbers the first one."""
    rng = np.random.default_rng([recording, first])
    for number in range(first, first + count):
        frames = []
        for part, (state, seconds) in enumerate(SCRIPT):
            clip = RigClip(recording, state, 1_000_000 + 4 * number + part, seconds, FPS, 0)
            frames += [rgb(frame if change is None else change(frame, rng)) for frame in render(clip)]
        starts = range(0, len(frames) - FRAMES + 1, HOP)
        yield [learnt.measure(frames[start : start + FRAMES]) for start in starts]


def rgb(frame: Array) -> Array:
    """A frame of the rig as `watch` keeps it."""
    return resize(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB), SIZE)  # type: ignore[arg-type]
