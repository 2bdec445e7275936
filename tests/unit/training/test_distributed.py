"""What several processes make of a training is what one makes of it."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, multiprocessing, nn
from torch import distributed as dist

from slimstream.core.errors import UserError
from slimstream.core.progress import null_log
from slimstream.datasets.dataset import Shard
from slimstream.models.base import Standardise
from slimstream.models.layers.heads import CosineHead
from slimstream.training import distributed
from slimstream.training.loop import fit
from slimstream.training.objectives import AMSoftmax, CenterLoss, CrossEntropy, Slimming
from slimstream.training.params import FitParams

CLIPS = 21
P = FitParams(epochs=4, lr=0.01, batch_size=8, micro_batch=3, ema=0.5, select="last", weight_decay=0.1)


class Net(nn.Module):
    """Batch norm of both kinds and dropout; a bias before batch norm would be moved by noise alone."""

    def __init__(self) -> None:
        super().__init__()
        self.rgb = nn.Linear(4, 8, bias=False)
        self.norm = nn.BatchNorm1d(8)
        self.standardise = Standardise(8)
        self.dropout = nn.Dropout(0.3)
        self.head = CosineHead(8, 2)
        self.idle = nn.Parameter(torch.ones(3, 1))  # has no gradient in any process, and so no decay

    def forward(self, clip: Tensor) -> Tensor:
        return self.head(self.dropout(self.standardise(self.norm(self.rgb(clip)).relu())))


@dataclass
class Batch:
    indices: Tensor
    clip: Tensor
    labels: Tensor
    size: int


def batches(epoch: int) -> Iterator[Batch]:
    """Steps of 8, 8 and 5 clips: pieces of 3, 3, 2 and of 3, 2, where of three processes one has nothing."""
    clip = torch.randn(CLIPS, 4, generator=torch.Generator().manual_seed(1))
    order = torch.randperm(CLIPS, generator=torch.Generator().manual_seed(epoch)).numpy()
    share = Shard(distributed.rank(), distributed.world_size(), P.micro_batch)
    for start in range(0, CLIPS, P.batch_size):
        whole = order[start : start + P.batch_size]
        mine = torch.from_numpy(share.select(whole))
        yield Batch(mine, clip[mine], (clip[mine, 0] > 0).long(), len(whole))


def train(folder: Path) -> None:
    """Train, and write what there is in the end and the curves."""
    torch.manual_seed(0)
    net = Net()
    if distributed.rank():
        with torch.no_grad():
            net.head.weight += 1e-3  # as another machine might have fitted it
    margin = AMSoftmax(CrossEntropy(torch.ones(2)), margin=0.35, scale=5.0)
    center = CenterLoss(margin, 0.1, classes=2, features=8, directions=True)
    curves = fit(
        net,
        objective=Slimming(center, 0.01),
        batches=batches,
        validate=lambda model: {"val_macro_f1": 0.0, "val_loss": 0.0},
        p=P,
        clips=CLIPS,
        folder=folder,
        log=null_log,
    )
    losses = torch.tensor([[row["train_loss"], row["train_center"]] for row in curves])
    made = {**net.state_dict(), "centers": center.centers, "losses": losses}
    save_file(made, folder / f"process-{distributed.rank()}.safetensors")


def process(rank: int, count: int, folder: Path) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=count)
    train(folder)
    with pytest.raises(UserError, match="a file system that all share"):
        distributed.synchronise(rank, folder)  # each has another state
    dist.destroy_process_group()


def test_three_processes_end_where_one_does(tmp_path: Path) -> None:
    count = 3
    (tmp_path / "several").mkdir()
    train(tmp_path)
    alone = load_file(tmp_path / "process-0.safetensors")
    # Forked from a process that has imported PyTorch and nothing else: to import it takes five seconds.
    multiprocessing.set_forkserver_preload([__name__])
    multiprocessing.start_processes(process, (count, tmp_path / "several"), count, start_method="forkserver")
    for rank in range(count):
        one = load_file(tmp_path / f"several/process-{rank}.safetensors")
        for name, value in alone.items():
            assert torch.allclose(one[name], value, atol=1e-5), (rank, name)
    start = Net().state_dict()
    moved = {name for name in start if not torch.allclose(alone[name], start[name], atol=1e-3)}
    assert moved == start.keys() - {"idle", "head.scale"}


def test_the_one_piece_of_a_step_moves_running_statistics_as_ever() -> None:
    plain, shared = nn.BatchNorm1d(4), nn.BatchNorm1d(4)
    buffers = distributed.BufferMean(shared)
    for step in range(3):
        clip = torch.randn(5, 4, generator=torch.Generator().manual_seed(step))
        plain(clip)
        buffers.begin(pieces=1)
        shared(clip)
        buffers.take(1.0)
        buffers.end()
    assert all(torch.equal(plain.state_dict()[name], value) for name, value in shared.state_dict().items())


def test_pieces_move_running_statistics_by_their_mean() -> None:
    norm = nn.BatchNorm1d(1, momentum=0.1)
    buffers = distributed.BufferMean(norm)
    buffers.begin(pieces=2)
    for clip, weight in ((torch.tensor([[1.0], [3.0]]), 0.5), (torch.tensor([[5.0], [7.0]]), 0.5)):
        norm(clip)
        buffers.take(weight)
    assert norm.running_mean is not None and float(norm.running_mean) == 0
    buffers.end()
    assert float(norm.running_mean) == pytest.approx(0.1 * (2 + 6) / 2)
    assert norm.num_batches_tracked == 1


def test_pieces_draw_the_same_whoever_works_on_them() -> None:
    def drawn(pieces: list[int]) -> dict[int, float]:
        torch.manual_seed(0)
        found = {}
        for piece in pieces:
            with distributed.seeded_piece(piece, 7, 1):
                found[piece] = torch.rand(()).item()
        return found

    alone, other = drawn([0, 1, 2]), drawn([2])
    assert other[2] == alone[2] and len(set(alone.values())) == 3
    torch.manual_seed(0)
    assert alone[0] == torch.rand(()).item(), "the first goes on where the step before stopped"
