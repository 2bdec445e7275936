"""The training loop on a problem small enough to see through."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from slimstream.core.progress import null_log
from slimstream.models.checkpoint import weight_hash
from slimstream.models.layers.heads import CosineHead
from slimstream.training.loop import fit
from slimstream.training.objectives import AMSoftmax, CenterLoss, CrossEntropy, Objective, Slimming, Terms
from slimstream.training.params import FitParams
from tests.unit.training.fakes import Batch

CLIPS = 12
PLAIN = CrossEntropy(torch.ones(2))


class Net(nn.Module):
    """A backbone under the name of a stream, dropout (so that randomness matters) and a head."""

    def __init__(self, head: type[nn.Linear] = nn.Linear) -> None:
        super().__init__()
        self.rgb = nn.Linear(4, 8)
        self.norm = nn.BatchNorm1d(8)
        self.dropout = nn.Dropout(0.3)
        self.head = head(8, 2)

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


def train(
    folder: Path,
    p: FitParams,
    until: int | None = None,
    objective: Objective = PLAIN,
    head: type[nn.Linear] = nn.Linear,
) -> tuple[Net, list[dict[str, float]]]:
    """Train a new net; `until` raises after that many epochs, as a kill would."""
    torch.manual_seed(p.seed)
    net = Net(head)

    def killed(metrics: object, step: int) -> None:
        if until is not None and step + 1 == until:
            raise KeyboardInterrupt

    history = fit(
        net,
        objective=objective,
        batches=batches,
        validate=validate,
        p=p,
        clips=CLIPS,
        folder=folder,
        log=killed if until else null_log,
    )
    return net, history


SETTINGS = FitParams(epochs=6, lr=0.05, warmup_epochs=1, batch_size=4, micro_batch=4)


@pytest.mark.parametrize(
    "extra",
    [{}, {"ema": 0.9, "select": "last"}, {"cycles": 2}, {"schedule": "plateau", "patience": 0}],
)
def test_a_killed_training_ends_with_the_same_weights(tmp_path: Path, extra: dict[str, object]) -> None:
    p = SETTINGS.model_copy(update=extra)
    whole, curves = train(tmp_path / "whole", p)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "cut", p, until=3)
    resumed, resumed_curves = train(tmp_path / "cut", p)
    assert weight_hash(resumed) == weight_hash(whole)
    assert resumed_curves == curves


class Temperature(nn.Module):
    """An objective with a weight of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.log = nn.Parameter(torch.zeros(()))

    def forward(self, model: nn.Module, batch: Batch, epoch: int) -> Terms:
        return {"loss": PLAIN.of(model(batch.clip) * self.log.exp(), batch.labels)}


def joint() -> Objective:
    """P2's loss, and slimming beside it."""
    margin = AMSoftmax(PLAIN, margin=0.35, scale=30.0)
    center = CenterLoss(margin, 0.1, classes=2, features=8, directions=True)
    return Slimming(center, 0.01)


@pytest.mark.parametrize(("objective", "head"), [(joint, CosineHead), (Temperature, nn.Linear)])
def test_what_an_objective_learns_survives_a_kill(
    tmp_path: Path, objective: type[nn.Module], head: type[nn.Linear]
) -> None:
    whole, other, again = objective(), objective(), objective()
    net, curves = train(tmp_path / "whole", SETTINGS, objective=whole, head=head)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "cut", SETTINGS, until=3, objective=other, head=head)
    resumed, resumed_curves = train(tmp_path / "cut", SETTINGS, objective=again, head=head)
    assert weight_hash(resumed) == weight_hash(net)
    assert weight_hash(again) == weight_hash(whole) != weight_hash(objective())
    assert resumed_curves == curves


def test_a_finished_training_is_not_run_again(tmp_path: Path) -> None:
    net, curves = train(tmp_path, SETTINGS)
    again, same = train(tmp_path, SETTINGS, until=1)  # would raise if an epoch were run
    assert weight_hash(again) == weight_hash(net) and same == curves


def test_the_rate_of_every_epoch_is_in_the_curves(tmp_path: Path) -> None:
    p = FitParams(epochs=4, lr=0.1, batch_size=4, micro_batch=4, cycles=2)
    _, curves = train(tmp_path, p)
    # The last of an epoch's three steps is at 2/3 of it: cos² of 1/6 and of 5/12 of a half turn, twice.
    assert [row["lr"] for row in curves] == pytest.approx([0.075, 0.00670, 0.075, 0.00670], abs=1e-5)


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
        p = FitParams(epochs=1, batch_size=12, micro_batch=micro, lr=0.1, schedule="constant", weight_decay=0)
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


def test_the_average_of_weights_keeps_whole_numbers(tmp_path: Path) -> None:
    """An order of channels has no mean: truncated, 0.9 · 7 + 0.1 · 7 is 6."""
    net, seen = Net(), []
    net.register_buffer("order", torch.arange(64))

    def see(model: nn.Module) -> dict[str, float]:
        seen.append(model.get_buffer("order").clone())
        return validate(model)

    p = FitParams(epochs=2, lr=0.01, ema=0.9, select="last")
    fit(
        net,
        objective=PLAIN,
        batches=batches,
        validate=see,
        p=p,
        clips=CLIPS,
        folder=tmp_path,
        log=null_log,
    )
    assert all(torch.equal(order, torch.arange(64)) for order in seen) and len(seen) == 2
