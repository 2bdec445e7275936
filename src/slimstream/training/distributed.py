"""Processes that train as one: which of them this is, and sums over all of them (torch.distributed).

A batch is cut into pieces of `micro_batch` clips, and piece k goes to process k mod `count()`. All that a
piece does follows from its batch and its number, whoever works on it: it starts from the running statistics
that the step began with (`Buffers`) and draws from its own random numbers (`draws`). So the number of
processes changes nothing but the order in which gradients are added up.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch import distributed as dist

from slimstream.core.errors import UserError

PATIENCE = timedelta(days=1)
"""How long one waits for the others. That one has died is for torchrun to see; one may be busy for hours."""


def number() -> int:
    """Which process this is: 0 .. count() - 1. Number 0 writes what there is to be written."""
    return dist.get_rank() if dist.is_initialized() else 0


def count() -> int:
    """How many processes train together."""
    return dist.get_world_size() if dist.is_initialized() else 1


@contextmanager
def joined() -> Iterator[None]:
    """Be one of the processes that torchrun has started. Raises UserError when there are more than GPUs."""
    on_gpu, mine = torch.cuda.is_available(), int(os.environ["LOCAL_RANK"])
    if on_gpu and mine >= torch.cuda.device_count():
        raise UserError(
            f"this machine has {torch.cuda.device_count()} GPUs: use no more processes than that."
        )
    if on_gpu:
        torch.cuda.set_device(mine)
    dist.init_process_group("cpu:gloo,cuda:nccl" if on_gpu else "gloo", timeout=PATIENCE)
    yield
    dist.destroy_process_group()


def add(tensors: Sequence[Tensor]) -> None:
    """Replace each tensor by its sum over all processes, in one message of float32 numbers."""
    if count() == 1 or not tensors:
        return
    whole = torch.cat([tensor.detach().float().flatten() for tensor in tensors])
    try:
        dist.all_reduce(whole)
    except RuntimeError as error:  # it has nobody to talk to
        raise UserError(f"another of the processes that train together has ended ({error}).") from error
    for tensor, sum_ in zip(tensors, whole.split([tensor.numel() for tensor in tensors]), strict=True):
        tensor.detach().copy_(sum_.view_as(tensor))


def add_gradients(parameters: Sequence[nn.Parameter], beside: Sequence[Tensor] = ()) -> None:
    """`add` the gradients, and what is sent along; a parameter that no process has used keeps none."""
    if count() == 1:
        return
    used = torch.tensor([p.grad is not None for p in parameters], device=parameters[0].device).float()
    for parameter in parameters:
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
    add([used, *beside, *(p.grad for p in parameters if p.grad is not None)])
    for parameter, by in zip(parameters, used.tolist(), strict=True):
        if not by:
            parameter.grad = None


def meet(epoch: int, folder: Path, *modules: nn.Module) -> None:
    """Wait for all and let `modules` be the first's, which may differ by the rounding of another machine.

    Raises UserError when not all go on at the same epoch.
    """
    if count() == 1:
        return
    epochs = [epoch] * count()
    dist.all_gather_object(epochs, epoch)
    if len(set(epochs)) > 1:
        raise UserError(
            f"not every process sees the same state in {folder}: keep it on a file system that all share."
        )
    for module in modules:
        for tensor in module.state_dict().values():
            dist.broadcast(tensor, 0)


class Buffers:
    """What forward passes change: running statistics, a centre loss's centres.

    Each piece of a step starts from what the step began with; the step moves them by the mean of what its
    pieces did, by their clips. The one piece of a step in the one process moves them as it likes.
    """

    def __init__(self, *modules: nn.Module) -> None:
        self.buffers = [buffer for module in modules for buffer in module.buffers()]
        self.shared: list[Tensor] = []
        """Those that are to be shared: all or, where there is nothing to share, none."""
        self.start: list[Tensor] = []
        self.moved: list[Tensor] = []
        """By how much, float32; `add` it over all processes before `end`."""

    def begin(self, pieces: int) -> None:
        """A step of so many pieces begins."""
        self.shared = self.buffers if max(pieces, count()) > 1 else []
        self.start = [buffer.clone() for buffer in self.shared]
        self.moved = [torch.zeros_like(buffer, dtype=torch.float32) for buffer in self.shared]

    def take(self, weight: float) -> None:
        """Note what a piece, `weight` of the step's clips, has done, and undo it."""
        for buffer, start, moved in zip(self.shared, self.start, self.moved, strict=True):
            moved += weight * (buffer.float() - start.float())
            buffer.copy_(start)

    def end(self) -> None:
        """Move them by what was noted."""
        for buffer, moved in zip(self.shared, self.moved, strict=True):
            buffer += moved if buffer.is_floating_point() else moved.round().to(buffer.dtype)


@contextmanager
def draws(piece: int, *step: int) -> Iterator[None]:
    """Random numbers for a piece: the first goes on where the step before stopped, others begin anew."""
    if not piece:
        yield
        return
    seed = int(np.random.SeedSequence([*step, piece]).generate_state(1, np.uint64)[0])
    with torch.random.fork_rng([torch.cuda.current_device()] if torch.cuda.is_available() else []):
        torch.manual_seed(seed)
        yield
