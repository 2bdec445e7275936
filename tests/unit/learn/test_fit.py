"""The training loop on a problem small enough to see through."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from slimstream.learn.checkpoint import weight_hash
from slimstream.learn.fit import fit
from slimstream.learn.objectives import CrossEntropy
from slimstream.params import Fit
from slimstream.progress import null_log

CLIPS = 12


@dataclass
class Batch:
    indices: Tensor
    clip: Tensor
    labels: Tensor


class Net(nn.Module):
    """A backbone under the name of a stream, dropout (so that randomness matters) and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.rgb = nn.Linear(4, 8)
        self.norm = nn.BatchNorm1d(8)
        self.dropout = nn.Dropout(0.3)
        self.head = nn.Linear(8, 2)

    def forward(self, clip: Tensor) -> Tensor:
        return self.head(self.dropout(self.norm(self.rgb(clip)).relu()))


def data() -> Batch:
    clip = torch.randn(CLIPS, 4, generator=torch.Generator().manual_seed(1))
    return Batch(torch.arange(CLIPS), clip, (clip[:, 0] > 0).long())


def batches(epoch: int) -> Iterator[Batch]:
    everything = data()
    order = torch.randperm(CLIPS, generator=torch.Generator().manual_seed(epoch))
    for chosen in order.split(4):
        yield Batch(chosen, everything.clip[chosen], everything.labels[chosen])


@torch.inference_mode()
def validate(model: nn.Module) -> dict[str, float]:
    logits = model.eval()(data().clip)
    right = (logits.argmax(1) == data().labels).float().mean().item()
    loss = nn.functional.cross_entropy(logits, data().labels).item()
    return {"val_macro_f1": right, "val_loss": loss, "val_accuracy": right}


def train(folder: Path, p: Fit, until: int | None = None) -> tuple[Net, list[dict[str, float]]]:
    """Train a new net; `until` raises after that many epochs, as a kill would."""
    torch.manual_seed(p.seed)
    net = Net()

    def killed(metrics: object, step: int) -> None:
        if until is not None and step + 1 == until:
            raise KeyboardInterrupt

    history = fit(
        net,
        objective=CrossEntropy(torch.ones(2)),
        batches=batches,
        validate=validate,
        p=p,
        clips=CLIPS,
        folder=folder,
        log=killed if until else null_log,
    )
    return net, history


SETTINGS = Fit(epochs=6, lr=0.05, warmup_epochs=1, batch_size=4, micro_batch=4)


@pytest.mark.parametrize("extra", [{}, {"ema": 0.9, "select": "last"}])
def test_a_killed_training_ends_with_the_same_weights(tmp_path: Path, extra: dict[str, object]) -> None:
    p = SETTINGS.model_copy(update=extra)
    whole, curves = train(tmp_path / "whole", p)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "cut", p, until=3)
    resumed, resumed_curves = train(tmp_path / "cut", p)
    assert weight_hash(resumed) == weight_hash(whole)
    assert resumed_curves == curves


def test_it_learns(tmp_path: Path) -> None:
    net, curves = train(tmp_path, SETTINGS.model_copy(update={"epochs": 30}))
    assert curves[0]["val_macro_f1"] < 1 == validate(net)["val_macro_f1"]


def test_the_best_epoch_is_kept(tmp_path: Path) -> None:
    net, curves = train(tmp_path, SETTINGS.model_copy(update={"epochs": 15, "lr": 0.5}))
    assert validate(net)["val_macro_f1"] == pytest.approx(max(row["val_macro_f1"] for row in curves))


def test_micro_batches_add_up_to_the_batch(tmp_path: Path) -> None:
    def gradients(micro: int) -> Tensor:
        torch.manual_seed(0)
        net = Net().eval()  # no dropout; fit() turns training on, so replace the random parts
        net.norm, net.dropout = nn.Identity(), nn.Identity()  # type: ignore[assignment]
        p = Fit(epochs=1, batch_size=12, micro_batch=micro, lr=0.1, schedule="constant", weight_decay=0)
        one = lambda epoch: iter([data()])  # noqa: E731
        fit(
            net,
            objective=CrossEntropy(torch.ones(2)),
            batches=one,
            validate=validate,
            p=p,
            clips=CLIPS,
            folder=tmp_path / str(micro),
            log=null_log,
        )
        return net.head.weight

    assert torch.allclose(gradients(12), gradients(5), atol=1e-5)


def test_streams_learn_at_the_backbone_rate(tmp_path: Path) -> None:
    torch.manual_seed(0)
    before = Net().rgb.weight.clone()
    net, _ = train(tmp_path, SETTINGS.model_copy(update={"backbone_lr": 0.0}))
    assert torch.equal(net.rgb.weight, before)
    assert not torch.equal(net.head.weight, Net().head.weight)
