"""export: write every model in each runtime's form, compare the forms with the network, choose one to deploy.

The ranges of 8-bit numbers are found on training clips. A form with fewer bits may change the predicted class
of a few clips only, and these must be clips that the heads have not learnt from: a head is so confident of
its own clips that rounding hardly changes a class, which says little about clips of a new camera. Where
`refit` fits heads in closed form, heads are fitted on inner folds (`own_heads`). Otherwise the forms are
compared on validation clips, by heads from before `refit`. Of the fastest such forms on this machine the
smallest is the one that evaluate measures and publish registers.
"""

import hashlib
import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import numpy.typing as npt
import pandas as pd
from torch import nn

from slimstream.clips.params import NetworkInput
from slimstream.core.errors import UserError
from slimstream.core.paths import TEACHERS, Paths
from slimstream.core.progress import Log
from slimstream.models import create_model
from slimstream.models.base import Classifier
from slimstream.models.checkpoint import Card, load_model, weight_hash
from slimstream.runtimes import RUNTIMES, find_runtime
from slimstream.runtimes import export as formats
from slimstream.runtimes.base import read_forms, write_forms
from slimstream.runtimes.calibration import write_calibration
from slimstream.runtimes.onnx import FILE as ONNX_FILE
from slimstream.runtimes.seen import write_seen
from slimstream.runtimes.split_part import SplitPart, spread_indices
from slimstream.stages.export.calibrate import calibrate_head, calibrate_network
from slimstream.stages.export.choice import choose_form
from slimstream.stages.export.comparison import Timing, leave_out_on_error, left_out, measure, predict
from slimstream.stages.export.own_heads import JUDGES, Judged, give_own_heads, judges, takes_own_heads
from slimstream.stages.export.own_heads import answers as form_answers
from slimstream.stages.export.params import ExportParams
from slimstream.stages.export.preprocessing import preprocessing
from slimstream.stages.export.sample import seen_sample
from slimstream.stages.export.suspects import find_suspects, write_suspects
from slimstream.training.params import TrainParams

Identity = tuple[str, str, bool, str]
"""Equal for networks of which one export does for both, see `identity`."""


def run(
    export: ExportParams,
    refit__strength: float | None,
    search__margin: float,
    train__fit__epochs: int,
    prune__fit__epochs: int,
    distill__fit__epochs: int,
    teachers: Mapping[str, TrainParams],
    paths: Paths,
    log: Log,
) -> dict[str, float]:
    """Export all final models; returns the measurements as "<model>.<runtime>.<metric>".

    `refit__strength` is refit.strength; None means that heads were not fitted again. `search__margin` is the
    macro-F1 that a form may lose on inner folds. The epochs, and those of the `teachers`, tell which networks
    have learnt from labels in more than their heads. Raises UserError when there are no models.
    """
    classes = json.loads(paths.split_info.read_text())["classes"]
    split = pd.read_parquet(paths.split)
    parts = [SplitPart.of(split, part, classes, paths) for part in ("train", "val")]
    parts.append(SplitPart.of(split, "train", classes, paths, "val"))
    names = paths.final_models()
    if not names:
        raise UserError(f"{paths.final} holds no model to export; run the stages train and refit first.")
    shutil.rmtree(paths.exports, ignore_errors=True)  # removes models that the recipe no longer has
    runtimes = [runtime for runtime in RUNTIMES if runtime in export.runtimes]  # the most precise first
    seconds = usual_seconds(split, paths)
    metrics: dict[str, float] = {}
    networks: dict[Identity, str] = {}
    done: dict[Path, NetworkInput] = {}
    timings: list[Timing] = []
    trained, pruned = train__fit__epochs, train__fit__epochs + prune__fit__epochs
    epochs = {
        **{"baseline": 0, "original": trained, "slim": trained, "pruned": pruned},
        **dict.fromkeys(("control", "distilled"), pruned + distill__fit__epochs),
        **{TEACHERS + teacher: p.fit.epochs for teacher, p in teachers.items()},
    }
    for name in names:
        model, card = load_model(paths.final_model(name), create_model)
        folder = paths.export(name)
        train, val, both = (part.reduced(card.network_input.reduce) for part in parts)
        known = [train.batch(i) for i in spread_indices(len(train), export.calibration_clips)]
        # The layers of a trained network know the clips of all inner folds, so that these would show nothing.
        own = before = None
        if refit__strength is not None:
            if not epochs[name] and takes_own_heads(model, both):
                own = model
            else:
                before, _ = load_model(paths.model(name), create_model)
        formats.write_reference(model, known, folder)
        network = identity(folder, card, own is not None, before)
        if (same := networks.setdefault(network, name)) != name:
            print(f"export: {name} is the same network as {same} and shares its forms.", file=sys.stderr)
            shutil.copytree(paths.export(same), folder, dirs_exist_ok=True)
            metrics |= numbers(name, folder)
            continue
        # The ranges of 8-bit numbers depend on the input, too.
        alike = [other for other, input in done.items() if input == card.network_input]
        written = add_forms(name, model, known, folder, runtimes, alike)
        judged: dict[str, Judged] = {}
        if before is not None:
            with TemporaryDirectory(dir=folder) as unlearnt:
                formats.write_reference(before, known, Path(unlearnt))
                written = add_forms(name, before, known, Path(unlearnt), written, [folder])
                answers = predict(name, Path(unlearnt), val, written, range(len(val)))
        else:
            if own is not None and refit__strength is not None:
                judged = give_own_heads(
                    name, own, known, folder, written, both, refit__strength, leave_out_on_error
                )
                written = [runtime for runtime in written if find_runtime(runtime).exact or runtime in judged]
            # Forms that inner folds have judged are only compared with the network: fewer clips tell enough.
            some = spread_indices(len(val), JUDGES if own is not None else len(val))
            answers = predict(name, folder, val, written, some)
        if not judged:  # the heads of others would be taken over with their layers
            done[folder] = card.network_input
        forms = [
            replace(form, **asdict(judged[form.runtime])) if form.runtime in judged else form
            for form in measure(model, folder, val, answers, export, timings)
        ]
        chosen = choose_form(forms, export, search__margin)
        write_forms(folder, chosen, forms)
        x, clips = None, judges(both)
        if isinstance(model, Classifier) and model.has_one_head:
            x = form_answers(name, folder, chosen.runtime, both, "features", clips)
        if own is not None and x is not None and refit__strength is not None:
            fitted = calibrate_head(x, both, clips, classes, refit__strength, export.keep)
            ids, truth, said = both.rows["id"].iloc[clips], both.truth[clips], fitted.probabilities
        else:
            ids, truth, said = val.rows["id"], val.truth, answers[chosen.runtime]
            fitted = calibrate_network(said, x, both, clips, classes, export.keep)
        write_calibration(fitted.calibration, folder)
        write_suspects(find_suspects(said, truth, ids.tolist(), classes), len(truth), folder)
        write_seen(seen_sample(parts[2], clips, fitted.numbers), folder)
        text = json.dumps(preprocessing(card, known[0].shape, seconds), indent=2, ensure_ascii=False)
        (folder / "preprocessing.json").write_text(text + "\n")
        metrics |= numbers(name, folder)
    return metrics


def usual_seconds(split: pd.DataFrame, paths: Paths) -> float:
    """Median length in seconds of the videos of train; 0 for pictures."""
    index = pd.read_parquet(paths.packs / "index.parquet", columns=["id", "seconds"])
    return float(index.loc[index["id"].isin(split.loc[split["part"] == "train", "id"]), "seconds"].median())


def identity(folder: Path, card: Card, own_heads: bool, before: nn.Module | None) -> Identity:
    """All that the export of the network in `folder` depends on, besides its clips and the settings.

    `before` is the network with heads from before `refit`, where these judge its forms.
    """
    graph = hashlib.sha256((folder / ONNX_FILE).read_bytes()).hexdigest()
    origin = card.model_dump_json(include={"classes", "input"})
    return graph, origin, own_heads, weight_hash(before) if before is not None else ""


def numbers(name: str, folder: Path) -> dict[str, float]:
    """The measurements of the forms in `folder` as "<name>.<runtime>.<metric>", and "<name>.speedup"."""
    chosen, forms = read_forms(folder)
    found = {
        f"{name}.{form.runtime}.{key}": value
        for form in forms
        for key, value in asdict(form).items()
        if isinstance(value, float)
    }
    return found | {f"{name}.speedup": forms[0].latency_p50_ms / chosen.latency_p50_ms}


def add_forms(
    name: str,
    model: nn.Module,
    known: Sequence[npt.NDArray[np.uint8]],
    folder: Path,
    runtimes: Sequence[str],
    alike: Sequence[Path] = (),
) -> list[str]:
    """Write the forms of `model` beside that for REFERENCE; return those of `runtimes` that work.

    `known` are calibration batches (1, T, C, H, W) uint8. If the network differs only in its head from the
    one in a folder of `alike`, its 8-bit form is made from the one there.
    """
    failed = formats.add_forms(model, known, folder, runtimes, alike)
    for runtime, reason in failed.items():
        left_out(name, runtime, reason)
    return [runtime for runtime in runtimes if runtime not in failed]
