"""Time of the whole diagnosis of a raw clip, from file to answer, against decoding and flow alone."""

import json
import tempfile
from functools import partial
from pathlib import Path

import torch

from benchmarks.clips import P1, videos
from benchmarks.compare import Result, compare_times
from benchmarks.inference import SMALL, present, pruned, seen
from slimstream.clips.packs import pack_clip
from slimstream.models import create_model
from slimstream.models.cost import count_params
from slimstream.runtimes import find_runtime
from slimstream.runtimes.base import Form, write_forms
from slimstream.runtimes.export import export
from slimstream.serving.classifier import ClipClassifier

CLASSES = ["normal", "air_leakage", "diverted_flow"]


def run() -> list[Result]:
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (video,) = videos(root, 1, 10.0)
        pack = pack_clip(video, P1).array
        clips = [pack[i : i + 5].transpose(0, 3, 1, 2)[None].copy() for i in range(0, 20, 5)]
        original = seen(create_model("two_stream_mobilevit", len(CLASSES)), clips)
        small = pruned(original, clips, target_params=SMALL / count_params(original))
        results = []
        for runtime in (name for name in present() if not find_runtime(name).exact):
            classifier = deployed(small, clips, root / runtime, runtime)
            assert classifier.predict([video])[0]["error"] == ""
            results.append(
                compare_times(
                    "diagnosis",
                    (f"file to answer, {runtime}", partial(classifier.predict, [video])),
                    ("decode + flow", partial(pack_clip, video, P1)),
                    most=1.5,
                    note=f"a clip of 10 s, {len(pack)} frames judged by the pair pruned to 2.13 M",
                )
            )
        return results


def deployed(model: torch.nn.Module, clips: list, folder: Path, runtime: str) -> ClipClassifier:
    """`model` exported as in the stage export, for one runtime."""
    export(model, clips, folder, [runtime])
    form = Form(runtime, 0, 0, 0, 0, 0)
    write_forms(folder, form, [form])
    shown = {"classes": CLASSES, "extract": P1.model_dump(mode="json")}
    (folder / "preprocessing.json").write_text(json.dumps(shown))
    return ClipClassifier(folder)
