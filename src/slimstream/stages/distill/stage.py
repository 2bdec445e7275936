"""distill: a small network learns from the original and from further teachers (P3, section 2).

The student is the pruned network or, as in P3, the network before pruning, newly initialised. Each network
sees its own part of the same clips: teachers may look at more frames than the student. A second training, the
control, has the same start, epochs and augmented views but λ = 0, which is plain cross-entropy. The
difference between the two is the effect of the teachers.
"""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from slimstream.clips.params import ExtractParams, NetworkInput
from slimstream.core.errors import UserError
from slimstream.core.paths import BEST, Paths
from slimstream.core.progress import Log, progress_bar
from slimstream.models import build_on_meta, create_model
from slimstream.models.checkpoint import Card, load_card, load_model
from slimstream.stages.distill.losses import AttentionTransfer, Distillation, attention
from slimstream.stages.distill.params import DistillParams
from slimstream.stages.search.params import SearchParams
from slimstream.training import distributed
from slimstream.training.choice import read_choices
from slimstream.training.hooks import capture_maps
from slimstream.training.objectives import Objective, check_objective
from slimstream.training.params import TrainParams
from slimstream.training.study import Study, prefixed_log, with_prefix


def run(distill: DistillParams, extract: ExtractParams, paths: Paths, log: Log) -> dict[str, float]:
    """Train the models `control` and `distilled`; returns their validation scores and sizes, by model.

    Raises UserError when there is no teacher, or when a teacher does not fit the clips or the split.
    """
    study = Study.open(extract, paths)
    best = best_of_search(paths) if distill.best else []
    folders = teacher_folders(distill, paths, paths.trained_teachers(), best)
    wanted = {"classes": study.classes, "input": study.input, "split_hash": study.split_hash}
    teachers = [
        (model, study.seen_with(input)) for model, input in (_teacher(folder, wanted) for folder in folders)
    ]
    student, card = new_student(distill, paths)
    study = study.seen_with(card.network_input)
    study.check(student, distill.fit)
    if distill.attention:
        shown = {folder: (net, of.example()) for folder, (net, of) in zip(folders, teachers, strict=True)}
        check_maps(student, shown, study.example())
    start = paths.model("pruned") / "weights.safetensors"
    if distill.student == "scratch":
        start = paths.model(paths.uncompressed()) / "model.json"
    inputs = [start, *(folder / "weights.safetensors" for folder in folders)]
    study.check_shares(distill.fit)
    logits, maps = teacher_outputs(teachers, distill)

    metrics: dict[str, float] = {"teachers": float(len(teachers))}
    for name, weight in (("control", 0.0), ("distilled", distill.weight)):
        student, card = new_student(distill, paths)
        objective: Objective = Distillation(
            study.build_objective(student, distill.fit),
            logits,
            distill.temperature,
            weight,
            squared=distill.squared_temperature,
        )
        if distill.attention and name == "distilled":
            objective = AttentionTransfer(objective, maps, distill.attention)
        scores = study.fit(
            name,
            student,
            objective,
            distill.fit,
            prefixed_log(log, name),
            stage="distill",
            inputs=inputs,
            settings=[distill],
            views=distill.views,
        )
        parent = "pruned" if distill.student == "pruned" else None
        size = study.save(name, student, base=card.model, args=card.args, pruning=card.pruning, parent=parent)
        metrics |= with_prefix(name, scores | size)
    study.remove_finished()
    return metrics


def teacher_folders(
    p: DistillParams, paths: Paths, trained: list[str], best: Sequence[Path] = ()
) -> list[Path]:
    """Folders of the teachers: the original, the `best_of_search`, those of the stage `teachers`, and further
    folders.

    Raises UserError when there is no teacher, or when `p.trained` names one that is not among `trained`.
    """
    if unknown := sorted(set(p.trained or ()) - set(trained)):
        raise UserError(
            f"params.yaml: distill.trained names {unknown[0]}, which is not among the section teachers"
            f" ({', '.join(trained) or 'empty'})."
        )
    folders = [paths.model("original")] if p.original else []
    folders += best
    folders += [paths.teachers / name for name in (trained if p.trained is None else p.trained)]
    folders += [paths.source_root / folder for folder in p.teachers]
    if not folders:
        raise UserError(
            "params.yaml: distill has no teacher; set distill.original: true, or fill the section teachers."
        )
    return list(dict.fromkeys(folders))


def best_of_search(paths: Paths) -> list[Path]:
    """The folder of the best network of the search; it may be the chosen one or the original. Empty without
    a search."""
    if (paths.model(BEST) / "model.json").exists():
        return [paths.model(BEST)]
    choices = read_choices(paths)
    if "best" not in choices:
        return []
    return [paths.model(paths.uncompressed() if choices["best"] == choices.get("chosen") else "original")]


def new_student(p: DistillParams, paths: Paths) -> tuple[nn.Module, Card]:
    """The student before training; every call returns the same weights."""
    if p.student == "pruned":
        return load_model(paths.model("pruned"), create_model)
    card = load_card(paths.model(paths.uncompressed()))
    torch.manual_seed(p.fit.seed)
    return create_model(card.model, len(card.classes), **card.args), card


@torch.inference_mode()
def teacher_outputs(
    teachers: list[tuple[nn.Module, Study]], p: DistillParams
) -> tuple[Tensor, list[list[Tensor]]]:
    """Outputs of the teachers for each augmented view, each computed once, of the clips as it sees them.

    Returns logits (views, teachers, clips, n) float32 and, where attention is transferred, the `attention`
    (views, clips, T, h, w) for each map of each teacher. Processes that train together share the work.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    study = teachers[0][1]  # the number of clips and of classes is the same for all
    logits = torch.zeros(p.views, len(teachers), len(study.train), len(study.classes))
    maps: list[list[Tensor]] = [[] for _ in teachers]
    asked = [(index, view) for index in range(len(teachers)) for view in range(p.views)]
    for index, view in progress_bar(asked, "teacher views"):
        teacher, study = teachers[index]
        teacher.to(device)
        for batch in study.training_batches(teacher, p.fit, view, p.views):
            if not len(batch.indices):  # computed by other processes
                continue
            with capture_maps(teacher) if p.attention else nullcontext([()]) as captured:
                logits[view, index, batch.indices] = teacher(batch.clip.to(device)).float().cpu()
            seen = [attention(map_, len(batch.labels)).cpu() for map_ in captured[-1]]
            if not maps[index]:
                maps[index] = [torch.zeros(p.views, len(study.train), *each.shape[1:]) for each in seen]
            for store, each in zip(maps[index], seen, strict=True):
                store[view, batch.indices] = each
    distributed.all_reduce([logits, *(store for stores in maps for store in stores)])
    return logits, maps


def preflight(
    distill: DistillParams,
    train: TrainParams,
    teachers: dict[str, TrainParams],
    search: SearchParams,
    extract: ExtractParams,
    paths: Paths,
    classes: list[str] | None = None,
    split_hash: str | None = None,
) -> None:
    """Without `classes` check the student by its settings; with them check the teachers.

    A teacher must have been trained for the same classes and input and, where `split_hash` is given, on the
    same split. Raises UserError.
    """
    if classes is None:
        student = build_on_meta(train.model, train.model_args)
        check_objective(student, distill.fit)
        if distill.attention and not hasattr(student, "maps"):
            raise UserError(
                f"params.yaml: distill.attention compares maps, and {train.model} shows none; set it to 0."
            )
        return
    best = [paths.model(BEST)] if distill.best and search.active else []  # it is not yet known which it is
    teacher_folders(distill, paths, list(teachers), best)
    wanted: dict[str, Any] = {"classes": classes, "input": NetworkInput.of(extract)}
    if split_hash is not None:
        wanted["split_hash"] = split_hash
    for name in distill.teachers:
        _teacher(paths.source_root / name, wanted)


def _teacher(folder: Path, wanted: Mapping[str, Any]) -> tuple[nn.Module, NetworkInput]:
    """The network in `folder` and its input.

    Raises UserError when its card has other values than `wanted`: it may see another part of the packs, but
    they must be made alike.
    """
    model, card = load_model(folder, create_model)
    for what, value in wanted.items():
        found = card.network_input.whole if isinstance(value, NetworkInput) else getattr(card, what)
        if found != value:
            raise UserError(
                f"{folder} cannot teach here: its {what.replace('_', ' ')} is {found}, "
                f"this run's is {value}; train the teacher on this split first."
            )
    return model.eval(), card.network_input


def check_maps(student: nn.Module, teachers: Mapping[Path, tuple[nn.Module, Tensor]], clip: Tensor) -> None:
    """Raise UserError when attention cannot be compared: a network without maps, or with other channels.

    Every network computes a clip (1, T, C, H, W) as it sees it, the student `clip`: a network may define
    `maps` but not use them in its forward pass.
    """
    channels = getattr(student, "channels", None)
    shown = {str(folder): seen for folder, seen in teachers.items()}
    for who, (net, own) in {"the student": (student, clip), **shown}.items():
        if not _has_maps(net, own):
            raise UserError(f"distill.attention compares maps, and {who} shows none; set attention: 0.")
    for folder, (teacher, _) in teachers.items():
        if getattr(teacher, "channels", None) != channels:
            raise UserError(
                f"distill.attention: {folder} sees other channels than the student; "
                "leave that teacher out or set attention: 0."
            )


@torch.inference_mode()
def _has_maps(net: nn.Module, clip: Tensor) -> bool:
    if not hasattr(net, "maps"):
        return False
    with capture_maps(net) as captured:
        net.eval()(clip)
    return bool(captured)
