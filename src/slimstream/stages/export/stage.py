"""export: write every model in each runtime's form, compare the forms with the network, choose one to deploy.

The ranges of 8-bit numbers are found on training clips. A form with fewer bits may change the predicted class
of a few clips only, and these must be clips that the heads have not learnt from: a head is so confident of
its own clips that rounding hardly changes a class, which says little about clips of a new camera. Where
`refit` fits heads in closed form, heads are fitted on inner folds (`own_heads`). Otherwise the forms are
compared on validation clips, by heads from before `refit`. Of the fastest such forms on this machine the
smallest is the one that evaluate measures and publish registers.
"""

import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from torch import nn

from slimstream.clips.params import NetworkInput
from slimstream.core.errors import UserError
from slimstream.core.paths import TEACHERS, Paths
from slimstream.core.progress import Log
from slimstream.models.base import Classifier
from slimstream.runtimes import RUNTIMES, find_runtime
from slimstream.runtimes import export as formats
from slimstream.runtimes.base import read_forms, write_forms
from slimstream.runtimes.calibration import write_calibration
from slimstream.runtimes.seen import write_seen
from slimstream.runtimes.split_part import Floats, SplitPart, spread_indices
from slimstream.stages.export.calibrate import calibrate_head, calibrate_network
from slimstream.stages.export.choice import choose_form
from slimstream.stages.export.comparison import Timing, left_out, measure, predict
from slimstream.stages.export.own_heads import JUDGES, Judged, judges, takes_own_heads
from slimstream.stages.export.own_heads import answers as form_answers
from slimstream.stages.export.params import ExportParams
from slimstream.stages.export.preprocessing import preprocessing
from slimstream.stages.export.sample import seen_sample
from slimstream.stages.export.subject import Data, Identity, Subject, identity, read_subject
from slimstream.stages.export.suspects import find_suspects, write_suspects
from slimstream.training.params import TrainParams


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
    names = paths.final_models()
    if not names:
        raise UserError(f"{paths.final} holds no model to export; run the stages train and refit first.")
    shutil.rmtree(paths.exports, ignore_errors=True)  # removes models that the recipe no longer has
    runtimes = [runtime for runtime in RUNTIMES if runtime in export.runtimes]  # the most precise first
    data = Data.read(paths)
    trained, pruned = train__fit__epochs, train__fit__epochs + prune__fit__epochs
    epochs = {
        **{"baseline": 0, "original": trained, "slim": trained, "pruned": pruned},
        **dict.fromkeys(("control", "distilled"), pruned + distill__fit__epochs),
        **{TEACHERS + teacher: p.fit.epochs for teacher, p in teachers.items()},
    }
    metrics: dict[str, float] = {}
    networks: dict[Identity, str] = {}
    alike: dict[Path, NetworkInput] = {}
    timings: list[Timing] = []
    for name in names:
        subject = read_subject(
            name, data, export.calibration_clips, refit__strength, epochs.get(name, trained), paths
        )
        formats.write_reference(subject.model, subject.known, subject.folder)
        if (same := networks.setdefault(identity(subject), name)) != name:
            print(f"export: {name} is the same network as {same} and shares its forms.", file=sys.stderr)
            shutil.copytree(paths.export(same), subject.folder, dirs_exist_ok=True)
        else:
            judged, answers = write_and_judge(subject, runtimes, alike)
            forms = [
                replace(form, **asdict(judged[form.runtime])) if form.runtime in judged else form
                for form in measure(subject.model, subject.folder, subject.val, answers, export, timings)
            ]
            chosen = choose_form(forms, export, search__margin)
            write_forms(subject.folder, chosen, forms)
            calibrate(subject, chosen.runtime, answers[chosen.runtime], data, export.keep, refit__strength)
            write_preprocessing(subject, data.seconds)
        metrics |= numbers(name, subject.folder)
    return metrics


def write_and_judge(
    subject: Subject, runtimes: Sequence[str], alike: dict[Path, NetworkInput]
) -> tuple[dict[str, Judged], dict[str, Floats]]:
    """Write the forms of `subject` for `runtimes`; return what inner folds say of them, and their answers.

    The first is empty where no inner folds judge. The answers are probabilities (N, n) of val clips, by each
    form that works. `alike` are folders with forms for a given input, which 8-bit forms are made from if only
    the heads differ; the folder of `subject` is added unless its forms have heads of their own.
    """
    # The ranges of 8-bit numbers depend on the input, too.
    same_input = [folder for folder, shown in alike.items() if shown == subject.card.network_input]
    written = add_forms(subject, subject.model, subject.folder, runtimes, same_input)
    judged: dict[str, Judged] = {}
    if subject.before is not None:
        with TemporaryDirectory(dir=subject.folder) as name:
            unlearnt = Path(name)
            formats.write_reference(subject.before, subject.known, unlearnt)
            written = add_forms(subject, subject.before, unlearnt, written, [subject.folder])
            answers = predict(subject.name, unlearnt, subject.val, written, range(len(subject.val)))
    else:
        clips = len(subject.val)
        if own := subject.own_heads:
            judged = own.give(subject.name, subject.known, subject.folder, written, subject.both)
            written = [runtime for runtime in written if find_runtime(runtime).exact or runtime in judged]
            clips = JUDGES  # they are only compared with the network: fewer clips tell enough
        some = spread_indices(len(subject.val), clips)
        answers = predict(subject.name, subject.folder, subject.val, written, some)
    if not judged:  # the heads of others would be taken over with their layers
        alike[subject.folder] = subject.card.network_input
    return judged, answers


def calibrate(
    subject: Subject,
    runtime: str,
    answers: Floats,
    data: Data,
    keep: float | None,
    refit__strength: float | None,
) -> None:
    """Calibrate the form for `runtime`, and write what its features and `answers` (N, n) for val clips tell.

    That are the calibration, suspected labels, and a sample of clips for `watch`.
    """
    both, val = subject.both, subject.val
    clips = judges(both) if subject.own_heads else val_and_train(both)
    x = None
    if isinstance(subject.model, Classifier) and subject.model.has_one_head:
        x = form_answers(subject.name, subject.folder, runtime, both, "features", clips)
    if subject.own_heads and x is not None:
        fitted = calibrate_head(x, both, clips, data.classes, subject.own_heads.strength, keep)
        ids, truth, said = both.rows["id"].iloc[clips], both.truth[clips], fitted.probabilities
    else:
        fitted_again = subject.before is not None and takes_own_heads(subject.model, both)
        strength = refit__strength if fitted_again else None
        fitted = calibrate_network(answers, x, both, clips, data.classes, keep, strength)
        ids, truth, said = val.rows["id"], val.truth, answers
    write_calibration(fitted.calibration, subject.folder)
    write_suspects(find_suspects(said, truth, ids.tolist(), data.classes), len(truth), subject.folder)
    write_seen(seen_sample(data.both, clips, fitted.numbers), subject.folder)


def val_and_train(clips: SplitPart) -> list[int]:
    """Indices of at most JUDGES val clips and as many train clips, each evenly spread."""
    parts = clips.rows["part"].to_numpy()
    of = [np.flatnonzero(parts == part) for part in ("val", "train")]
    return sorted(int(each[i]) for each in of for i in spread_indices(len(each), JUDGES))


def write_preprocessing(subject: Subject, seconds: float) -> None:
    """Write how clips of usually `seconds` become the input of the network."""
    content = preprocessing(subject.card, subject.known[0].shape, seconds)
    text = json.dumps(content, indent=2, ensure_ascii=False)
    (subject.folder / "preprocessing.json").write_text(text + "\n")


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
    subject: Subject, model: nn.Module, folder: Path, runtimes: Sequence[str], alike: Sequence[Path]
) -> list[str]:
    """Write the forms of `model` beside that for REFERENCE; return those of `runtimes` that work.

    `model` is that of `subject`, or the same with other heads. If it differs only in its head from the
    network in a folder of `alike`, its 8-bit form is made from the one there.
    """
    failed = formats.add_forms(model, subject.known, folder, runtimes, alike)
    for runtime, reason in failed.items():
        left_out(subject.name, runtime, reason)
    return [runtime for runtime in runtimes if runtime not in failed]
