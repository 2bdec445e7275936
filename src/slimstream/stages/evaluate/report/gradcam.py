"""Grad-CAM (Selvaraju et al. 2017, equations 1 and 2): the parts of a picture that a prediction depends on.

`gradcam` explains a network with a stream `rgb` and, where it exists, a stream `flow`. It uses the last
feature map of a stream's forward pass that has a width and a height. Such a map belongs to a frame, or it is
a volume that may have fewer time steps than the clip has frames. Where the streams share one module (`flow`
is None or the same module as `rgb`), it may be called twice or once with both inputs as one batch, RGB first.

`layer_gradcam` explains a network with one stream at each convolution (P3, section 4.2, Fig. 9).

Both differentiate the logit of a class (Selvaraju et al.) or, as P3 does, its softmax. The softmax shows what
supports the class more than the others.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from slimstream.stages.evaluate.params import GradcamScore

Heat = npt.NDArray[np.floating[Any]]


def has_streams(model: nn.Module) -> bool:
    """Whether `gradcam` can explain `model`."""
    return isinstance(getattr(model, "rgb", None), nn.Module) and has_heat(model)


def has_heat(model: nn.Module) -> bool:
    """Whether gradients show where `model` looks: not of a nearest-neighbour vote or a picture cut out."""
    return getattr(model, "differentiable", True)


def is_for_pictures(model: nn.Module) -> bool:
    """Whether a network takes grey pictures only; such networks have one stream."""
    return getattr(model, "channels", None) == frozenset({1})


def gradcam(
    model: nn.Module, clip: npt.NDArray[np.uint8], target: int | None = None, score: GradcamScore = "logit"
) -> tuple[Heat, ...]:
    """Heat maps of class `target` (default: the predicted class) for each stream: RGB, then flow.

    `clip` is (T, C, H, W) uint8. Returns arrays (T, h, w) in 0..1, each scaled by its stream's maximum. Where
    the feature map has fewer time steps than the clip has frames, each frame gets the time step that covers
    it. Raises ValueError when the network has no streams or a stream makes no feature map.
    """
    if not has_streams(model):
        raise ValueError("Grad-CAM needs a network with streams, `rgb` at least")
    streams = 2 if hasattr(model, "flow") else 1
    maps, gradients = _differentiate(model, clip, target, score, _hook_streams)
    maps, gradients = ([_frames(x) for x in xs] for xs in (maps, gradients))
    instants, odd = divmod(sum(len(m) for m in maps), streams)
    if odd or not 0 < instants <= len(clip):
        raise ValueError(f"expected one feature map a frame and stream, found {[len(m) for m in maps]}")
    local = _tells_places_apart(model)
    # Where both streams are in one batch, it is divided first, so that each is scaled by its own maximum.
    heats = [
        _heat(m, g, local)
        for ms, gs in zip(maps, gradients, strict=True)
        for m, g in zip(ms.split(instants), gs.split(instants), strict=True)
    ]
    holds = np.arange(len(clip)) * instants // len(clip)
    return tuple(heat[holds] for heat in heats)


def layer_gradcam(
    model: nn.Module, clip: npt.NDArray[np.uint8], target: int | None = None, score: GradcamScore = "logit"
) -> list[Heat]:
    """Heat maps of class `target` (default: the predicted class) at each convolution, first to last.

    `clip` is (T, C, H, W) uint8. Returns arrays (T, h, w) in 0..1, each scaled by its layer's maximum.
    Raises ValueError when the network makes no feature map.
    """
    local = _tells_places_apart(model)
    maps, gradients = _differentiate(model, clip, target, score, _hook_layers)
    return [_heat(m, g, local) for m, g in zip(maps, gradients, strict=True)]


def _differentiate(
    model: nn.Module,
    clip: npt.NDArray[np.uint8],
    target: int | None,
    of: GradcamScore,
    watch: Callable[[nn.Module], tuple[list[Tensor], list[Any]]],
) -> tuple[list[Tensor], list[Tensor]]:
    """The maps that `watch` records while `model` predicts `clip`, and the gradients of the class's score."""
    maps, handles = watch(model)
    training, model = model.training, model.eval()
    try:
        pixels = torch.from_numpy(np.ascontiguousarray(clip))[None].float().requires_grad_()
        with torch.enable_grad():
            scores = model(pixels)[0]
            if of == "softmax":
                scores = scores.double().softmax(0)  # in single precision a certain one has no gradient
        if not maps:
            raise ValueError("Grad-CAM needs a network that makes feature maps")
        score = scores[int(scores.argmax()) if target is None else target]
        gradients = torch.autograd.grad(score, maps, allow_unused=True)
    finally:
        model.train(training)
        for handle in handles:
            handle.remove()
    return maps, [torch.zeros_like(m) if g is None else g for m, g in zip(maps, gradients, strict=True)]


def _hook_layers(model: nn.Module) -> tuple[list[Tensor], list[Any]]:
    """Hooks that record the output of each convolution after batch norm, residual sum and activation."""
    maps: list[Tensor] = []

    def after(module: nn.Module, _: Any, out: Any) -> None:
        if not isinstance(out, Tensor) or out.ndim != 4 or min(out.shape[-2:]) < 2:
            return
        if isinstance(module, nn.Conv2d):
            maps.append(out)
        elif maps and out.shape == maps[-1].shape:
            maps[-1] = out

    leaves = [m for m in model.modules() if not list(m.children())]
    return maps, [m.register_forward_hook(after) for m in leaves]


def _hook_streams(model: nn.Module) -> tuple[list[Tensor], list[Any]]:
    """Hooks that record each stream's last feature map, in the order the streams run: RGB, then flow."""
    maps: list[Tensor] = []
    last: list[Tensor] = []

    def within(_: nn.Module, __: Any, out: Any) -> None:
        if isinstance(out, Tensor) and out.ndim in (4, 5) and min(out.shape[-2:]) > 1:
            last[:] = [out]

    def done(_: nn.Module, __: Any, ___: Any) -> None:
        maps.extend(last)
        last.clear()

    both = (model.rgb, getattr(model, "flow", None))
    streams = {id(s): s for s in both if isinstance(s, nn.Module)}.values()
    handles = [m.register_forward_hook(within) for s in streams for m in s.modules()]
    return maps, handles + [s.register_forward_hook(done) for s in streams]


def _frames(maps: Tensor) -> Tensor:
    """Maps (N, K, h, w) unchanged; volumes (B, K, T, h, w) as (B·T, K, h, w)."""
    return maps if maps.ndim == 4 else maps.transpose(1, 2).flatten(0, 1)


def _tells_places_apart(model: nn.Module) -> bool:
    """Whether a channel counts otherwise in one part of the picture than in another."""
    return bool(getattr(getattr(model, "cells", None), "grid", 1) > 1)


def _heat(maps: Tensor, gradient: Tensor, local: bool) -> Heat:
    """ReLU of the maps (T, K, h, w), weighted by each channel's mean gradient per frame; scaled to 0..1.

    `local`: weighted by the gradient at each place, for networks of which the mean would mix the cells.
    """
    weights = gradient if local else gradient.mean(dim=(2, 3), keepdim=True)
    heat = (weights * maps).sum(1).relu().detach()
    scaled: Heat = (heat / heat.max().clamp_min(torch.finfo(heat.dtype).tiny)).numpy()
    return scaled
