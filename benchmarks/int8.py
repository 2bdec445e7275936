"""8 bits after training: a head fitted to the features of the 8-bit network, against the head as it was.

Lite0 with ImageNet weights looks at four frames of rendered clips. The head is fitted in closed form to all
recordings but one; the clips of that one are answered. Nothing here is a time: what is compared is how far
the answers of the 8-bit network are from those of the network in 32-bit floats.
"""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from benchmarks.clips import FPS
from benchmarks.compare import Result, ratio_result
from slimstream.clips.packs import pack_clip
from slimstream.clips.params import ExtractParams
from slimstream.models import create_model
from slimstream.models.base import Classifier
from slimstream.runtimes import open_network
from slimstream.runtimes.base import softmax
from slimstream.runtimes.export import export
from slimstream.stages.ingest.plants import rig
from slimstream.training.closed_form import linear_classifier, standardisation

RECORDINGS, PER_STATE, SECONDS = 6, 3, 1.0
LOOKS_AT = ExtractParams(frames=4, size=(128, 128), flow="none")
STRENGTH = 0.01
RUNTIME = "openvino-int8"
Array = npt.NDArray[Any]


class Features(nn.Module):
    """The network without its head: clip (B, T, C, H, W) to features (B, F)."""

    def __init__(self, network: Classifier) -> None:
        super().__init__()
        self.network = network

    def forward(self, clip: Tensor) -> Tensor:
        return self.network.features(clip)


def run() -> list[Result]:
    torch.manual_seed(0)
    clips, labels, recordings = rendered()
    body = Features(create_model("efficientnet_frames", len(rig.STATES))).eval()
    with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
        failed = export(body, clips[::3], Path(folder), [RUNTIME])
        assert not failed, failed
        quantised = open_network(Path(folder), RUNTIME)
        exact = np.concatenate([body(torch.from_numpy(clip)).numpy() for clip in clips])
        coarse = np.concatenate([quantised(clip) for clip in clips])
    ratios, changed = [], {"refitted": 0, "as it was": 0}
    for recording in np.unique(recordings):
        known, unseen = recordings != recording, recordings == recording
        truth = answers(exact[known], labels[known], exact[unseen])
        refitted = answers(coarse[known], labels[known], coarse[unseen])
        kept = answers(exact[known], labels[known], coarse[unseen])
        ratios.append(float(np.abs(refitted - truth).mean() / np.abs(kept - truth).mean()))
        for name, found in (("refitted", refitted), ("as it was", kept)):
            changed[name] += int((found.argmax(1) != truth.argmax(1)).sum())
    said = f"{changed['refitted']} and {changed['as it was']} of {len(clips)} labels changed"
    return [
        ratio_result(
            "int8",
            "change of a probability, head refitted",
            "head as it was",
            ratios,
            note=f"{said}; a round is a recording that the head has not seen",
        )
    ]


def rendered() -> tuple[list[Array], Array, Array]:
    """Clips (1, T, C, H, W) uint8 of the rig, their labels and their recordings."""
    clips, labels, recordings = [], [], []
    with tempfile.TemporaryDirectory() as folder:
        for number, clip in enumerate(rig.rig_clips(RECORDINGS, PER_STATE, SECONDS, FPS, 0)):
            file = Path(folder) / f"{number}.mp4"
            clip.write(file)
            clips.append(pack_clip(file, LOOKS_AT).array.transpose(0, 3, 1, 2)[None].copy())
            labels.append(rig.STATES.index(clip.state))
            recordings.append(clip.recording)
    return clips, np.array(labels), np.array(recordings)


def answers(known: Array, labels: Array, shown: Array) -> Array:
    """Probabilities for features `shown` by a head fitted to the features `known`."""
    center, scale = standardisation(known)
    weight, bias = linear_classifier((known - center) / scale, labels, len(rig.STATES), STRENGTH)
    return softmax((shown - center) / scale @ weight.T + bias)
