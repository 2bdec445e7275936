"""Distributed training (torch.distributed), with results that do not depend on the number of processes.

A batch is cut into pieces of `micro_batch` clips. Process k mod `world_size()` computes piece k. The result
of a piece depends only on its batch and its number: each piece starts with the buffers from the start of the
step (`BufferMean`) and has its own random seed (`seeded_piece`). Only the order of additions depends on the
number of processes.
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

from slimstream.core.environment import MEETING
from slimstream.core.errors import UserError

TIMEOUT = timedelta(days=1)
"""Timeout of collective operations: a process may be busy for hours, and torchrun detects dead ones."""


def rank() -> int:
    """Rank of this process, 0 .. world_size() - 1. Only rank 0 writes files."""
    return dist.get_rank() if dist.is_initialized() else 0


def world_size() -> int:
    """Number of processes that train together (world size)."""
    return dist.get_world_size() if dist.is_initialized() else 1


@contextmanager
def process_group() -> Iterator[None]:
    """Join the process group of torchrun, or of MEETING. Raises UserError for more processes than GPUs."""
    on_gpu, local_rank = torch.cuda.is_available(), int(os.environ["LOCAL_RANK"])
    if on_gpu and local_rank >= torch.cuda.device_count():
        raise UserError(
            f"this machine has {torch.cuda.device_count()} GPUs: use no more processes than that."
        )
    if on_gpu:
        torch.cuda.set_device(local_rank)
    dist.init_process_group(
        "cpu:gloo,cuda:nccl" if on_gpu else "gloo",
        init_method=os.environ.get(MEETING, "env://"),
        timeout=TIMEOUT,
        rank=int(os.environ["RANK"]),
        world_size=int(os.environ["WORLD_SIZE"]),
    )
    yield
    dist.destroy_process_group()


def all_reduce(tensors: Sequence[Tensor]) -> None:
    """Replace each tensor by its sum over all processes (one all-reduce in float32).

    Raises UserError when another process has ended.
    """
    if world_size() == 1 or not tensors:
        return
    flat = torch.cat([tensor.detach().float().flatten() for tensor in tensors])
    try:
        dist.all_reduce(flat)
    except RuntimeError as error:  # another process has ended
        raise UserError(f"another of the processes that train together has ended ({error}).") from error
    for tensor, sum_ in zip(tensors, flat.split([tensor.numel() for tensor in tensors]), strict=True):
        tensor.detach().copy_(sum_.view_as(tensor))


def all_reduce_gradients(parameters: Sequence[nn.Parameter], beside: Sequence[Tensor] = ()) -> None:
    """Sum the gradients and the tensors `beside` over all processes.

    A parameter without a gradient in all processes keeps None.
    """
    if world_size() == 1:
        return
    used = torch.tensor([p.grad is not None for p in parameters], device=parameters[0].device).float()
    for parameter in parameters:
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
    all_reduce([used, *beside, *(p.grad for p in parameters if p.grad is not None)])
    for parameter, by in zip(parameters, used.tolist(), strict=True):
        if not by:
            parameter.grad = None


def synchronise(epoch: int, folder: Path, *modules: nn.Module) -> None:
    """Wait for all processes and copy `modules` from rank 0, because other machines may round differently.

    Raises UserError when the processes resume at different epochs, so `folder` is not shared.
    """
    if world_size() == 1:
        return
    epochs = [epoch] * world_size()
    dist.all_gather_object(epochs, epoch)
    if len(set(epochs)) > 1:
        raise UserError(
            f"not every process sees the same state in {folder}: keep it on a file system that all share."
        )
    for module in modules:
        for tensor in module.state_dict().values():
            dist.broadcast(tensor, 0)


class BufferMean:
    """Buffers that forward passes change: running statistics and the centres of a centre loss.

    Each piece of a step starts with the values from the start of the step. At the end of the step the buffers
    change by the mean of the pieces' changes, weighted by their clips. With one piece and one process the
    buffers change directly.
    """

    def __init__(self, *modules: nn.Module) -> None:
        self.buffers = [buffer for module in modules for buffer in module.buffers()]
        self.shared: list[Tensor] = []
        """Buffers to average: all, or none with one piece and one process."""
        self.start: list[Tensor] = []
        self.moved: list[Tensor] = []
        """Weighted changes, float32; sum them over all processes (`all_reduce`) before `end`."""

    def begin(self, pieces: int) -> None:
        """Begin a step of `pieces` pieces."""
        self.shared = self.buffers if max(pieces, world_size()) > 1 else []
        self.start = [buffer.clone() for buffer in self.shared]
        self.moved = [torch.zeros_like(buffer, dtype=torch.float32) for buffer in self.shared]

    def take(self, weight: float) -> None:
        """Record the change by a piece, which has the share `weight` of the step's clips, and undo it."""
        for buffer, start, moved in zip(self.shared, self.start, self.moved, strict=True):
            moved += weight * (buffer.float() - start.float())
            buffer.copy_(start)

    def end(self) -> None:
        """Apply the recorded changes."""
        for buffer, moved in zip(self.shared, self.moved, strict=True):
            buffer += moved if buffer.is_floating_point() else moved.round().to(buffer.dtype)


@contextmanager
def seeded_piece(piece: int, *step: int) -> Iterator[None]:
    """Seed the random numbers of a piece by its number and `step`. Piece 0 uses the current generator."""
    if not piece:
        yield
        return
    seed = int(np.random.SeedSequence([*step, piece]).generate_state(1, np.uint64)[0])
    with torch.random.fork_rng([torch.cuda.current_device()] if torch.cuda.is_available() else []):
        torch.manual_seed(seed)
        yield
