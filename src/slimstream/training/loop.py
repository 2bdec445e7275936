"""The training loop, used by all stages that train.

All random numbers of an epoch depend only on (seed, epoch), and after each epoch the whole state is written
atomically. A killed training resumes after the last finished epoch and, on a CPU, ends with the same weights
as an uninterrupted one. Several processes may share each step (`training.distributed`).
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from slimstream.core.progress import Log, progress_bar
from slimstream.datasets.dataset import piece_sizes
from slimstream.models.checkpoint import load_state, save_state
from slimstream.training import distributed, objectives
from slimstream.training.objectives import Objective
from slimstream.training.params import FitParams
from slimstream.training.schedules import multiplier

STREAMS = ("rgb.", "flow.", "joint.", "stages.")
"""Prefixes of backbone parameters, which are trained with `backbone_lr`."""

Row = dict[str, float]


class Batch(objectives.Batch, Protocol):
    """The clips of a step; in distributed training, those of this process."""

    @property
    def size(self) -> int:
        """Number of clips of the step over all processes."""


@dataclass
class State:
    """The state of a training, saved after each epoch."""

    model: nn.Module
    objective: nn.Module
    """The objective, or an empty module when it is a function without state."""
    optimiser: torch.optim.Optimizer
    average: AveragedModel | None
    epoch: int = 0
    history: list[Row] = field(default_factory=list)
    best: dict[str, Tensor] = field(default_factory=dict)
    best_row: Row = field(default_factory=dict)


def fit(
    model: nn.Module,
    *,
    objective: Objective,
    batches: Callable[[int], Iterable[Batch]],
    validate: Callable[[nn.Module], Mapping[str, float]],
    p: FitParams,
    clips: int,
    folder: Path,
    log: Log,
    title: str = "train",
) -> list[Row]:
    """Train `model` in place and return its curves, one row an epoch.

    `batches(epoch)` yields the batches of an epoch, `clips` clips in total. `validate(model)` returns at
    least `val_macro_f1` and `val_loss`. The model ends on the CPU with the weights of the best or the last
    epoch (`p.select`). `folder` holds the state for resuming. A GPU is used if available, with automatic
    mixed precision. An objective that is an nn.Module is trained too.
    """
    if not p.epochs:  # the head was fitted in closed form; there may be no parameters to train
        model.cpu().eval()
        return []
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    _channels_last(model.to(device))
    learning = (objective if isinstance(objective, nn.Module) else nn.Module()).to(device).train()
    state = State(model, learning, _optimiser(model, learning, p), _average(model, p))
    checkpoint = folder / "state.safetensors"
    if checkpoint.exists():
        _restore(state, checkpoint)
    distributed.synchronise(state.epoch, folder, model, learning)
    scaler = torch.amp.GradScaler(enabled=device.type == "cuda")
    for epoch in progress_bar(range(state.epoch, p.epochs), title, total=p.epochs - state.epoch):
        torch.manual_seed(p.seed * 1_000_003 + epoch)
        row = {
            "epoch": float(epoch),
            **_epoch(state, objective, batches(epoch), epoch, p, clips, scaler, device),
        }
        row |= validate(state.average.module if state.average else model)
        state.history.append(row)
        state.epoch = epoch + 1
        if p.select == "last" or not state.best_row or _score(row) > _score(state.best_row):
            source = state.average.module if state.average else model
            state.best = {k: v.detach().clone() for k, v in source.state_dict().items()}
            state.best_row = row
        if distributed.rank() == 0:
            save_state(checkpoint, *_dump(state))
            log({k: v for k, v in row.items() if k != "epoch"}, epoch)
    if state.best:
        model.load_state_dict(state.best)
    model.cpu().eval()
    return state.history


def _channels_last(model: nn.Module) -> None:
    """Convert the weights of 2-D convolutions to the faster channels-last memory format."""
    for parameter in model.parameters():
        if parameter.ndim == 4:
            parameter.data = parameter.data.to(memory_format=torch.channels_last)


def _epoch(
    state: State,
    objective: Objective,
    batches: Iterable[Batch],
    epoch: int,
    p: FitParams,
    clips: int,
    scaler: torch.amp.GradScaler,
    device: torch.device,
) -> Row:
    model, optimiser = state.model.train(), state.optimiser
    parameters = [parameter for group in optimiser.param_groups for parameter in group["params"]]
    buffers = distributed.BufferMean(model, state.objective)
    sums: dict[str, Tensor] = {}  # read only at the end, because reading synchronises with the GPU
    seen = 0
    for batch in batches:
        share = multiplier(epoch + seen / clips, p, state.history)
        for group in optimiser.param_groups:
            group["lr"] = group["peak"] * share
        buffers.begin(pieces=math.ceil(batch.size / p.micro_batch))
        for number, part in _pieces(batch, p.micro_batch, device):
            weight = len(part.labels) / batch.size
            with (
                distributed.seeded_piece(number, p.seed, epoch, seen),
                torch.autocast(device.type, torch.float16, enabled=device.type == "cuda"),
            ):
                terms = objective(model, part, epoch)
            scaler.scale(terms["loss"] * weight).backward()
            for name, value in terms.items():
                sums[name] = sums.get(name, 0.0) + value.detach().double() * len(part.labels)
            buffers.take(weight)
        distributed.all_reduce_gradients(parameters, beside=buffers.moved)
        buffers.end()
        scaler.step(optimiser)
        scaler.update()
        optimiser.zero_grad(set_to_none=True)
        if state.average:
            state.average.update_parameters(model)
        seen += batch.size
    distributed.all_reduce(list(sums.values()))
    return {f"train_{k}": v.item() / seen for k, v in sums.items()} | {"lr": optimiser.param_groups[-1]["lr"]}


@dataclass(frozen=True)
class _Piece:
    indices: Tensor
    clip: Tensor
    labels: Tensor


def _pieces(batch: Batch, size: int, device: torch.device) -> Iterator[tuple[int, _Piece]]:
    """Cut a batch into numbered micro-batches, as `piece_sizes`. Their gradients add up to its gradient."""
    if not len(batch.labels):  # all pieces of a small batch belong to other processes
        return
    mine = piece_sizes(batch.size, size)[distributed.rank() :: distributed.world_size()]
    pieces = zip(
        batch.indices.split(mine), batch.clip.split(mine), batch.labels.to(device).split(mine), strict=True
    )
    for turn, (indices, clip, labels) in enumerate(pieces):
        part = _Piece(indices, clip.to(device, non_blocking=True), labels)
        yield distributed.rank() + turn * distributed.world_size(), part


def _optimiser(model: nn.Module, objective: nn.Module, p: FitParams) -> torch.optim.Optimizer:
    """AdamW (decoupled weight decay), without decay of biases and norms."""
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for name, parameter in (*model.named_parameters(), *objective.named_parameters()):
        if parameter.requires_grad:
            groups.setdefault((name.startswith(STREAMS), parameter.ndim > 1), []).append(parameter)
    backbone_lr = p.lr if p.backbone_lr is None else p.backbone_lr
    return torch.optim.AdamW(
        [
            {
                "params": parameters,
                "lr": p.lr,
                "peak": backbone_lr if backbone else p.lr,
                "weight_decay": p.weight_decay if decays else 0.0,
            }
            for (backbone, decays), parameters in sorted(
                groups.items(), key=lambda item: item[0], reverse=True
            )
        ],
        fused=next(model.parameters()).is_cuda or None,
    )


def _average(model: nn.Module, p: FitParams) -> AveragedModel | None:
    if not p.ema:
        return None
    blend = get_ema_multi_avg_fn(p.ema)

    def update(averaged: Sequence[Tensor], current: Sequence[Tensor], count: Tensor | int) -> None:
        """Of tensors of one type; whole numbers, such as an order of channels, have no mean."""
        if averaged[0].is_floating_point():
            blend(list(averaged), list(current), count)
        else:
            for mean, value in zip(averaged, current, strict=True):
                mean.copy_(value)

    return AveragedModel(model, multi_avg_fn=update, use_buffers=True)


def _score(row: Row) -> tuple[float, float]:
    return row["val_macro_f1"], -row["val_loss"]


def _dump(state: State) -> tuple[dict[str, Tensor], dict[str, Any]]:
    optimiser = state.optimiser.state_dict()
    tensors = {f"model/{k}": v for k, v in state.model.state_dict().items()}
    tensors |= {f"objective/{k}": v for k, v in state.objective.state_dict().items()}
    tensors |= {f"best/{k}": v for k, v in state.best.items()}
    if state.average:
        tensors |= {f"average/{k}": v for k, v in state.average.state_dict().items()}
    for index, slots in optimiser["state"].items():
        tensors |= {f"optimiser/{index}/{slot}": value for slot, value in slots.items()}
    facts = {
        "epoch": state.epoch,
        "history": state.history,
        "best_row": state.best_row,
        "groups": optimiser["param_groups"],
    }
    return tensors, facts


def _restore(state: State, checkpoint: Path) -> None:
    tensors, facts = load_state(checkpoint)
    names = ("model", "objective", "best", "average", "optimiser")
    parts: dict[str, dict[str, Tensor]] = {name: {} for name in names}
    for key, value in tensors.items():
        part, name = key.split("/", 1)
        parts[part][name] = value
    state.model.load_state_dict(parts["model"])
    state.objective.load_state_dict(parts["objective"])
    if state.average:
        state.average.load_state_dict(parts["average"])
    slots: dict[int, dict[str, Tensor]] = {}
    for name, value in parts["optimiser"].items():
        index, slot = name.split("/")
        slots.setdefault(int(index), {})[slot] = value
    state.optimiser.load_state_dict({"state": slots, "param_groups": facts["groups"]})
    device = next(state.model.parameters()).device
    state.epoch, state.history, state.best_row = facts["epoch"], facts["history"], facts["best_row"]
    state.best = {k: v.to(device) for k, v in parts["best"].items()}
