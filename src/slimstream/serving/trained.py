"""A trained model as a deployed one, for `predict` before the stage export has run. Needs PyTorch."""

import json
from functools import partial
from pathlib import Path

from slimstream.core.files import make_once
from slimstream.core.fingerprint import fingerprint


def is_trained(folder: Path) -> bool:
    """Whether a stage that trains wrote `folder`, such as models/baseline."""
    return (folder / "model.json").is_file()


def deploy(model: Path, cache: Path) -> Path:
    """Return a folder below `cache` with the trained `model` in ONNX; it is made when the model is new.

    The form is that of the stage export before it looks for a faster one. Raises UserError when the model
    cannot be read.
    """
    key = fingerprint("export", [], [model / "model.json", model / "weights.safetensors"])
    folder = cache / f"{model.name}-{key}"

    def make(half: Path) -> Path:
        _export(model, made := half / "made")
        return made

    return make_once(folder, make)


def _export(model: Path, folder: Path) -> None:
    import numpy as np

    from slimstream.models import create_model
    from slimstream.models.checkpoint import load_model
    from slimstream.models.latency import latency
    from slimstream.runtimes import REFERENCE, find_runtime, open_network
    from slimstream.runtimes.base import Form, write_forms
    from slimstream.runtimes.export import export
    from slimstream.stages.export.preprocessing import preprocessing

    network, card = load_model(model, create_model)
    seen = card.network_input
    frames = (seen.reduce and seen.reduce.frames) or seen.frames or 8
    clip = np.zeros((1, frames, seen.channels, *seen.shown_size), np.uint8)
    export(network, [clip], folder, [REFERENCE])
    text = json.dumps(preprocessing(card, clip.shape), indent=2, ensure_ascii=False)
    (folder / "preprocessing.json").write_text(text + "\n")
    spent = latency(partial(open_network(folder, REFERENCE), clip), 3)
    size = sum(file.stat().st_size for file in find_runtime(REFERENCE).paths(folder)) / 1e6
    form = Form(REFERENCE, 0.0, 0.0, size, spent.p50, spent.p95)
    write_forms(folder, form, [form])
