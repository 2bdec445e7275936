"""distill: a small network learns from the original and from further teachers (P3, section 2).

The student is the pruned network or, as in P3, the recipe's network newly initialised. A second training, the
control, has the same start, epochs and augmented views but λ = 0, which is plain cross-entropy. The
difference between the two is the effect of the teachers.
"""

from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from slimstream.clips.params import ExtractParams, NetworkInput
from slimstream.core.errors import UserError
from slimstream.core.paths import Paths
from slimstream.core.progress import Log, progress_bar
from slimstream.models import build_on_meta, create_model
from slimstream.models.checkpoint import Card, load_card, load_model
from slimstream.stages.distill.losses import AttentionTransfer, Distillation, attention
from slimstream.stages.distill.params import DistillParams
from slimstream.training import distributed
from slimstream.training.hooks import capture_maps
from slimstream.training.objectives import Objective, check_objective
from slimstream.training.params import TrainParams
from slimstream.training.study import Study, prefixed_log, with_prefix


def run(distill: DistillParams, extract: ExtractParams, paths: Paths, log: Log) -> dict[str, float]:
    """Train the models `control` and `distilled`; returns their validation scores and sizes, by model.

    Raises UserError when there is no teacher, or when a teacher does not fit the clips or the split.
    """
    study = Study.open(extract, paths)
    folders = teacher_folders(distill, paths, paths.trained_teachers())
    wanted = {"classes": study.classes, "input": study.input, "split_hash": study.split_hash}
    teachers = [_teacher(folder, wanted) for folder in folders]
    student, card = new_student(distill, paths)
    study.check(student, distill.fit)
    if distill.attention:
        check_maps(student, dict(zip(folders, teachers, strict=True)), study.example())
    start = paths.model("pruned") / "weights.safetensors"
    if distill.student == "scratch":
        start = paths.model("original") / "model.json"
    inputs = [start, *(folder / "weights.safetensors" for folder in folders)]
    study.check_shares(distill.fit)
    logits, maps = teacher_outputs(teachers, study, distill)

    metrics: dict[str, float] = {"teachers": float(len(teachers))}
    for name, weight in (("control", 0.0), ("distilled", distill.weight)):
        student, card = new_student(distill, paths)
        objective: Objective = Distillation(
            study.build_objective(student, distill.fit), logits, distill.temperature, weight
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


def teacher_folders(p: DistillParams, paths: Paths, trained: list[str]) -> list[Path]:
    """Folders of the teachers: the original, those of the stage `teachers`, and further folders.

    Raises UserError when there is no teacher, or when `p.trained` names one that is not among `trained`.
    """
    if unknown := sorted(set(p.trained or ()) - set(trained)):
        raise UserError(
            f"params.yaml: distill.trained names {unknown[0]}, which is not among the section teachers"
            f" ({', '.join(trained) or 'empty'})."
        )
    folders = [paths.model("original")] if p.original else []
    folders += [paths.teachers / name for name in (trained if p.trained is None else p.trained)]
    folders += [paths.source_root / folder for folder in p.teachers]
    if not folders:
        raise UserError(
            "params.yaml: distill has no teacher; set distill.original: true or fill the section teachers."
        )
    return folders


def new_student(p: DistillParams, paths: Paths) -> tuple[nn.Module, Card]:
    """The student before training; every call returns the same weights."""
    if p.student == "pruned":
        return load_model(paths.model("pruned"), create_model)
    card = load_card(paths.model("original"))
    torch.manual_seed(p.fit.seed)
    return create_model(card.model, len(card.classes), **card.args), card


@torch.inference_mode()
def teacher_outputs(
    teachers: list[nn.Module], study: Study, p: DistillParams
) -> tuple[Tensor, list[list[Tensor]]]:
    """Outputs of the teachers for each augmented view, each computed once.

    Returns logits (views, teachers, clips, n) float32 and, where attention is transferred, the `attention`
    (views, clips, T, h, w) for each map of each teacher. Processes that train together share the work.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    logits = torch.zeros(p.views, len(teachers), len(study.train), len(study.classes))
    maps: list[list[Tensor]] = [[] for _ in teachers]
    asked = [(index, view) for index in range(len(teachers)) for view in range(p.views)]
    for index, view in progress_bar(asked, "teacher views"):
        teacher = teachers[index].to(device)
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
    teacher_folders(distill, paths, list(teachers))
    wanted: dict[str, Any] = {"classes": classes, "input": NetworkInput.of(extract)}
    if split_hash is not None:
        wanted["split_hash"] = split_hash
    for name in distill.teachers:
        _teacher(paths.source_root / name, wanted)


def _teacher(folder: Path, wanted: Mapping[str, Any]) -> nn.Module:
    """The network in `folder`. Raises UserError when its card has other values than `wanted`."""
    model, card = load_model(folder, create_model)
    for what, value in wanted.items():
        found = card.network_input if isinstance(value, NetworkInput) else getattr(card, what)
        if found != value:
            raise UserError(
                f"{folder} cannot teach here: its {what.replace('_', ' ')} is {found}, "
                f"this run's is {value}; train the teacher on this split first."
            )
    return model.eval()


def check_maps(student: nn.Module, teachers: dict[Path, nn.Module], clip: Tensor) -> None:
    """Raise UserError when attention cannot be compared: a network without maps, or with other channels.

    Every network computes `clip` (1, T, C, H, W): a network may define `maps` but not use them in its forward
    pass.
    """
    channels = getattr(student, "channels", None)
    for who, net in (("the student", student), *((str(folder), net) for folder, net in teachers.items())):
        if not _has_maps(net, clip):
            raise UserError(f"distill.attention compares maps, and {who} shows none; set attention: 0.")
    for folder, teacher in teachers.items():
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
