"""The clips that the report shows: heat maps of where networks look, and wrong predictions."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import nn

from slimstream.runtimes.split_part import spread_indices
from slimstream.stages.evaluate.params import GradcamScore
from slimstream.stages.evaluate.report.gradcam import Heat, gradcam, layer_gradcam
from slimstream.stages.evaluate.report.images import (
    contact_sheet,
    flow_picture,
    jpeg_uri,
    overlay,
    resize_for_display,
    rgb_view,
)
from slimstream.stages.evaluate.report.types import ClipPrediction, ShownClip

Ints = npt.NDArray[np.integer[Any]]
Floats = npt.NDArray[np.floating[Any]]
Pack = npt.NDArray[np.uint8]
"""(T, H, W, C)."""

LAYERS = 10
"""Convolutions of a network that are shown: all of P3's student."""
CAM_HEIGHT = 260
"""Height in pixels of the pictures with heat maps."""
CAM_FRAMES = 8
"""Frames of a clip that Grad-CAM uses: gradients of a whole long clip would not fit into memory."""


def select_examples(truth: Ints, probabilities: Floats, count: int = 3) -> list[int]:
    """Indices of up to `count` wrong, then up to `count` right clips, in turn from each class.

    `truth` (N,) class indices, `probabilities` (N, n). Within a class the most confident predictions are
    first.
    """
    predicted, confidence = probabilities.argmax(1), probabilities.max(1)
    order = np.argsort(-confidence, kind="stable")
    chosen: list[int] = []
    for group in (predicted != truth, predicted == truth):
        # The first of every class, then the second of every class, and so on.
        turn: dict[int, int] = {}
        ranked = []
        for i in order[group[order]]:
            turn[int(truth[i])] = turn.get(int(truth[i]), -1) + 1
            ranked.append((turn[int(truth[i])], int(i)))
        chosen += [i for _, i in sorted(ranked, key=lambda pair: pair[0])[:count]]
    return chosen


def misclassified(truth: Ints, answers: Sequence[Floats]) -> list[int]:
    """Indices of clips that any of `answers` (probabilities (N, n)) gets wrong, most confident mistake first.

    `truth` (N,) holds class indices.
    """
    sure = np.max([p.max(1) * (p.argmax(1) != truth) for p in answers], axis=0)
    return [int(i) for i in np.argsort(-sure, kind="stable") if sure[i] > 0]


def explain_clip(
    id: str,
    label: str,
    pack: Pack,
    aspect: float,
    models: Sequence[tuple[nn.Module, ClipPrediction]],
    score: GradcamScore = "logit",
) -> ShownClip:
    """Grad-CAM of several models on one frame of a clip: the one with the most heat over all models.

    `pack` (T, H, W, C) uint8; `aspect` is width / height of the raw clip. Each map is scaled by its own
    maximum in that frame. The models must have the same streams.
    """
    frames = pack[spread_indices(len(pack), CAM_FRAMES)]
    heats = [gradcam(model, frames.transpose(0, 3, 1, 2), score=score) for model, _ in models]
    t = int(np.argmax(sum(heat.sum((1, 2)) for streams in heats for heat in streams)))
    rgb = resize_for_display(rgb_view(frames[t]), aspect, CAM_HEIGHT)
    verdicts = [
        replace(verdict, rgb=_overlay_uri(rgb, streams[0][t]))
        for (_, verdict), streams in zip(models, heats, strict=True)
    ]
    if all(len(streams) == 1 for streams in heats):
        return ShownClip(id, label, [jpeg_uri(rgb)], verdicts)
    flow = resize_for_display(flow_picture(frames[t, ..., 3:]), aspect, CAM_HEIGHT)
    verdicts = [
        replace(verdict, flow=_overlay_uri(flow, streams[1][t]))
        for verdict, streams in zip(verdicts, heats, strict=True)
    ]
    return ShownClip(id, label, [jpeg_uri(rgb)], verdicts, jpeg_uri(flow))


def explain_by_layer(
    id: str,
    label: str,
    pack: Pack,
    aspect: float,
    models: Sequence[tuple[nn.Module, ClipPrediction]],
    score: GradcamScore = "logit",
) -> ShownClip:
    """Grad-CAM of several networks with one stream on a picture, at each convolution (P3, Fig. 9).

    `pack` (T, H, W, C) uint8; `aspect` is width / height of the raw picture. Of several pictures of one
    object the one with the most heat in the last layers is shown. Of a network with many convolutions
    `LAYERS` are shown, including the first and the last.
    """
    pictures = pack[spread_indices(len(pack), CAM_FRAMES)]
    heats = [layer_gradcam(model, pictures.transpose(0, 3, 1, 2), score=score) for model, _ in models]
    t = int(np.argmax(sum(layers[-1].sum((1, 2)) for layers in heats)))
    picture = resize_for_display(rgb_view(pictures[t]), aspect, CAM_HEIGHT)
    verdicts = [
        replace(
            verdict,
            layers=[
                (i + 1, _overlay_uri(picture, layers[i][t])) for i in spread_indices(len(layers), LAYERS)
            ],
        )
        for (_, verdict), layers in zip(models, heats, strict=True)
    ]
    return ShownClip(id, label, [jpeg_uri(picture)], verdicts)


def _overlay_uri(picture: Pack, heat: Heat) -> str:
    """A data URI of `picture` with `heat` (h, w) over it, scaled by its maximum."""
    return jpeg_uri(overlay(picture, heat / max(heat.max(), 1e-12)))


def clip_sheet(
    id: str, label: str, pack: Pack, aspect: float, verdicts: Sequence[ClipPrediction]
) -> ShownClip:
    """A contact sheet of a clip with the models' predictions. `pack` (T, H, W, C) uint8."""
    return ShownClip(id, label, contact_sheet(pack, aspect), verdicts)
