"""distill: the pruned network learns from the original and further teachers (P3, section 2).

Beside it runs the control: same start, same epochs, same augmented views, λ = 0, that is plain cross-entropy.
Only the difference between the two is owed to the teachers.
"""

from pathlib import Path

import torch
from torch import Tensor, nn

from slimstream.errors import UserError
from slimstream.learn.checkpoint import load_model
from slimstream.learn.objectives import Distillation
from slimstream.models import create_model
from slimstream.params import Distill, Params
from slimstream.paths import Paths
from slimstream.progress import Log, bar
from slimstream.stages.training import Study, with_prefix


def run(params: Params, paths: Paths, log: Log) -> dict[str, float]:
    p = params.distill
    study = Study.open(params.extract, paths)
    folders = [paths.model("original"), *(paths.source_root / folder for folder in p.teachers)]
    teachers = [_teacher(folder, study) for folder in folders]
    logits = teacher_logits(teachers, study, p)
    inputs = [folder / "weights.safetensors" for folder in (paths.model("pruned"), *folders)]

    metrics: dict[str, float] = {"teachers": float(len(teachers))}
    for name, weight in (("control", 0.0), ("distilled", p.weight)):
        student, card = load_model(paths.model("pruned"), create_model)
        objective = Distillation(study.cross_entropy(p.fit), logits, p.temperature, weight)
        scores = study.fit(
            name, student, objective, p.fit, _named(log, name), inputs=inputs, settings=[p], views=p.views
        )
        size = study.save(
            name, student, base=card.model, args=card.args, pruning=card.pruning, parent="pruned"
        )
        metrics |= with_prefix(name, scores | size)
    return metrics


@torch.inference_mode()
def teacher_logits(teachers: list[nn.Module], study: Study, p: Distill) -> Tensor:
    """(views, teachers, clips, n) float32: each teacher's answer to each augmented view, asked once."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    answers = torch.zeros(p.views, len(teachers), len(study.train), len(study.classes))
    asked = [(view, index) for view in range(p.views) for index in range(len(teachers))]
    for view, index in bar(asked, "teacher views"):
        teacher = teachers[index].to(device)
        for batch in study.lessons(teacher, p.fit, view, p.views):
            answers[view, index, batch.indices] = teacher(batch.clip.to(device)).float().cpu()
    return answers


def _teacher(folder: Path, study: Study) -> nn.Module:
    """Load a teacher; refuse one of other classes, other input or another split."""
    model, card = load_model(folder, create_model)
    expected: dict[str, object] = {
        "classes": study.classes,
        "input": study.input.model_dump(mode="json"),
        "split_hash": study.split_hash,
    }
    for what, wanted in expected.items():
        if getattr(card, what) != wanted:
            raise UserError(
                f"{folder} cannot teach here: its {what.replace('_', ' ')} is {getattr(card, what)}, "
                f"this run's is {wanted}; train the teacher on this split first."
            )
    return model.eval()


def _named(log: Log, name: str) -> Log:
    return lambda metrics, step: log(with_prefix(name, dict(metrics)), step)
