"""Training: a step against a minimal loop, and the cost of teachers in distillation."""

import copy
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.compare import Call, Result, compare_times
from slimstream.core.progress import null_log
from slimstream.datasets.dataset import Batch
from slimstream.models import create_model
from slimstream.models.cost import count_params
from slimstream.models.layers.fusion import CAFM
from slimstream.stages.distill.losses import Distillation
from slimstream.training.loop import fit
from slimstream.training.objectives import CrossEntropy, Objective
from slimstream.training.params import FitParams

STEPS, BATCH, CLASSES = 20, 8, 3


class Bare(nn.Module):
    """Two timm networks and our fusion, in a minimal implementation; (B, T, 5, H, W) to (B, classes)."""

    def __init__(self) -> None:
        import timm

        super().__init__()
        self.rgb: nn.Module = timm.create_model("mobilevit_xxs", num_classes=0, global_pool="")
        self.flow: nn.Module = timm.create_model("mobilevit_xxs", num_classes=0, global_pool="")
        self.fusion = CAFM(320)
        self.head = nn.Linear(640, CLASSES)

    def forward(self, clip: Tensor) -> Tensor:
        frames = clip.flatten(0, 1).float()
        x, y = (frames[:, 3] - 128) / 127, (frames[:, 4] - 128) / 127
        flow = torch.stack((x, y, 2 * (x.square() + y.square()).sqrt().clamp(max=1) - 1), 1)
        maps = self.fusion(self.rgb(frames[:, :3] / 255), self.flow(flow))
        return self.head(maps.mean((2, 3)).unflatten(0, clip.shape[:2]).mean(1))


def run() -> list[Result]:
    torch.manual_seed(0)
    batches = random_batches(STEPS)
    student = create_model("two_stream_mobilevit", CLASSES)
    assert count_params(student) == count_params(Bare())
    plain = CrossEntropy(torch.ones(CLASSES))
    teachers = [create_model("two_stream_mobilevit", CLASSES).eval() for _ in range(3)]
    answers = torch.zeros(1, len(teachers), BATCH, CLASSES)
    taught = Distillation(plain, answers, temperature=2.0, weight=0.5)

    class Online(Distillation):
        """Distillation that computes the teachers' logits at every step."""

        def forward(self, model: nn.Module, batch: Batch, epoch: int) -> dict[str, Tensor]:  # type: ignore[override]
            with torch.inference_mode():
                logits = torch.stack([teacher(batch.clip) for teacher in teachers])
            self.teachers[0][:, batch.indices] = logits.clone()
            return super().forward(model, batch, epoch)

    return [
        compare_times(
            "train step",
            ("training.loop.fit", epoch(student, plain, batches)),
            ("bare timm + torch loop", bare_epoch(batches)),
            most=1.03,
            note="two MobileViT-xxs at 224, batch 8",
        ),
        compare_times(
            "distillation",
            ("teachers' logits cached", epoch(student, taught, batches)),
            ("no teacher", epoch(student, plain, batches)),
            most=1.1,
        ),
        compare_times(
            "distillation",
            ("teachers' logits cached", epoch(student, taught, batches)),
            ("asked at every step", epoch(student, Online(plain, answers, 2.0, 0.5), batches)),
            note="three teachers of the student's size",
            rounds=3,
        ),
    ]


def random_batches(steps: int) -> list[Batch]:
    """One batch per step, each of BATCH clips (1, 5, 224, 224) of random bytes."""
    return [
        Batch(
            torch.arange(BATCH),
            torch.randint(0, 256, (BATCH, 1, 5, 224, 224), dtype=torch.uint8),
            torch.randint(0, CLASSES, (BATCH,)),
            BATCH,
        )
        for _ in range(steps)
    ]


def epoch(model: nn.Module, objective: Objective, batches: list[Batch]) -> Callable[[], object]:
    """A function that trains one epoch with the training loop, which also saves its state to disk."""
    p = FitParams(epochs=1, batch_size=BATCH, micro_batch=BATCH, frames=1)

    def train() -> None:
        with tempfile.TemporaryDirectory() as folder:
            fit(
                copy.deepcopy(model),
                objective=objective,
                batches=lambda _: batches,
                validate=lambda _: {"val_macro_f1": 0.0, "val_loss": 0.0},
                p=p,
                clips=len(batches) * BATCH,
                folder=Path(folder),
                log=null_log,
            )

    return train


def bare_epoch(batches: list[Batch]) -> Call:
    """A function that trains one epoch with a minimal PyTorch loop."""
    model = Bare().to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def train() -> None:
        net = copy.deepcopy(model).train()
        optimiser = torch.optim.AdamW(net.parameters(), 1e-3)
        for batch in batches:
            F.cross_entropy(net(batch.clip), batch.labels).backward()
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)

    return train
