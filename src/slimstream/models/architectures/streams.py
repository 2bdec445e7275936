"""Build two-stream networks: any backbone, any fusion, at any position (P2, sections 2.5 and 3.4)."""

import math
from collections.abc import Callable
from typing import Any, Literal

import torch
from pydantic import ConfigDict, with_config
from torch import Tensor, nn
from typing_extensions import TypedDict

from slimstream.core.errors import UserError
from slimstream.models.architectures.two_stream import GridMean, Normalise, Pool, TimePool, TwoStream
from slimstream.models.base import Standardise, set_linear
from slimstream.models.layers.fusion import CAFM, Concat, Convolution, FullyConnected, Fusion
from slimstream.models.layers.heads import Head, make_head
from slimstream.models.settings import Dropout
from slimstream.models.two_stream.backbone import Backbone, Freeze, Make, use_two_channels


@with_config(ConfigDict(extra="forbid"))
class StreamSettings(TypedDict, total=False):
    """Settings of all two-stream networks. The defaults are those of `two_stream`."""

    fusion: Fusion
    position: str
    shared: bool
    flow_channels: Literal[2, 3]
    freeze: Freeze
    frozen_bn: bool
    standardise: bool
    dropout: Dropout
    head: Head


@with_config(ConfigDict(extra="forbid"))
class PooledStreamSettings(StreamSettings, total=False):
    """The same with `pool`, for networks without pooling over time of their own."""

    pool: Pool


def two_stream(
    make: Make,
    num_classes: int,
    *,
    pool: Pool | Callable[[int], Any] = "mean",
    grid: int = 1,
    fusion: Fusion = "concat",
    position: str = "fc",
    shared: bool = False,
    flow_channels: Literal[2, 3] = 3,
    freeze: Freeze = 0,
    frozen_bn: bool = False,
    standardise: bool = False,
    dropout: float = 0.0,
    head: Head = "linear",
) -> TwoStream:
    """Build a two-stream network from a backbone.

    Args:
        make: returns a new backbone at each call.
        num_classes: number of classes.
        pool: pooling over time: 'mean', 'mean_std' (mean and standard deviation, which shows motion), or a
            callable from F to a module, (B, T, F) to (B, its `width`).
        grid: maps are averaged over so many rows and columns of cells.
        fusion: 'concat', 'cafm' (P1), 'conv' (P2, Table 5), 'fc' (P2's network) or 'average' of the scores
            (P2, Table 4).
        position: position of the fusion: the last layer, 'fc', or a stage of the backbone, such as 'mbconv4'
            (P2, Table 5); the later stages of one backbone follow after it.
        shared: one backbone for both streams instead of two copies.
        flow_channels: 3: flow x, y and magnitude; 2: x and y.
        freeze: number of leading stages of the backbones that are not trained; 'all' freezes the backbones.
        frozen_bn: batch norm keeps its running statistics; its weights may still be trained.
        standardise: standardise features before the classifier; suits pretrained backbones.
        dropout: on the features before the classifier.
        head: 'cosine' for AM-softmax (P2).
    """
    if shared and flow_channels == 2:
        raise UserError(
            "model_args: two-channel flow into a shared backbone does not fit, its first layer takes three; "
            "set shared: false or flow_channels: 3."
        )

    def stream() -> Backbone:
        return make().freeze(freeze, bn=frozen_bn)

    rgb, joint = stream(), None
    width = channels = rgb.channels
    if position != "fc":
        rgb, joint = rgb.split(position)
        channels = rgb.channels
        if fusion != "conv":
            raise UserError(
                f"model_args: streams that meet after '{position}' need fusion: conv, which keeps width; "
                f"'{fusion}' fits position: fc alone."
            )
    flow = None if shared else stream()
    if flow is not None and position != "fc":
        flow, _ = flow.split(position)
    normalise = Normalise(mean=rgb.mean, std=rgb.std)
    if flow is not None and flow_channels == 2:
        normalise = WithoutMagnitude(mean=rgb.mean, std=rgb.std)
        use_two_channels(flow)
    return join_streams(
        rgb,
        flow,
        num_classes,
        normalise=normalise,
        fusion=fusion,
        channels=channels,
        joint=joint,
        width=width,
        grid=grid,
        pool=pool,
        standardise=standardise,
        dropout=dropout,
        head=head,
    )


def join_streams(
    rgb: nn.Module,
    flow: nn.Module | None,
    num_classes: int,
    *,
    normalise: nn.Module,
    fusion: Fusion,
    channels: int,
    joint: nn.Module | None = None,
    width: int | None = None,
    grid: int = 1,
    pool: Pool | Callable[[int], Any] = "mean",
    standardise: bool = False,
    dropout: float = 0.0,
    head: Head = "linear",
) -> TwoStream:
    """Join two streams (last maps of `channels` channels) by `fusion`, followed by `joint` (to `width`).

    The other settings are those of `two_stream`.
    """
    if fusion == "fc" and grid > 1:
        raise UserError(
            "model_args: fc fusion leaves no map to cut into cells; leave out grid, or choose another fusion."
        )
    modules = {"cafm": CAFM, "conv": Convolution, "fc": FullyConnected}
    per_frame = (width or channels) * grid**2 * (1 if fusion in ("conv", "fc") else 2)
    if callable(pool):
        over_time = pool(per_frame)
        features = over_time.width
    else:
        over_time = TimePool(pool)
        features = per_frame * (2 if pool == "mean_std" else 1)
    together = {
        "normalise": normalise,
        "rgb": rgb,
        "flow": flow,
        "fusion": modules[fusion](channels) if fusion in modules else Concat(),
        "joint": joint,
        "cells": GridMean(grid),
        "pool": over_time,
        "features": features,
        "dropout": dropout,
    }
    if fusion == "average":
        if grid > 1:
            raise UserError(
                "model_args: average fusion compares scores of whole pictures; leave out grid, or choose "
                "another fusion."
            )
        if head == "cosine":
            raise UserError(
                "model_args: average fusion compares scores of two classifiers, which head: cosine does not "
                "make; choose another fusion or head: linear."
            )
        return ScoreAveraging(
            **together, head=lambda width: AverageScores(width, num_classes, standardise=standardise)
        )
    return TwoStream(**together, head=make_head(head, num_classes), standardise=standardise)


class AverageScores(nn.Module):
    """Average fusion: each stream has its own classifier, and their probabilities are averaged.

    As in the two-stream CNN (Simonyan & Zisserman, NIPS 2014, section 5). Features of both streams, (B, F)
    each, to log-probabilities (B, classes).

    Args:
        features: number of features of both streams together, 2·F.
        classes: number of classes.
        standardise: standardise features before the classifiers.
    """

    def __init__(self, features: int, classes: int, *, standardise: bool) -> None:
        super().__init__()
        half = features // 2
        self.rgb_scale, self.flow_scale = (
            Standardise(half) if standardise else nn.Identity() for _ in range(2)
        )
        self.rgb, self.flow = (nn.Linear(half, classes) for _ in range(2))

    @property
    def in_features(self) -> int:
        return self.rgb.in_features + self.flow.in_features

    def forward(self, rgb: Tensor, flow: Tensor) -> Tensor:
        scores = torch.stack((self.rgb(self.rgb_scale(rgb)), self.flow(self.flow_scale(flow))))
        return scores.log_softmax(-1).logsumexp(0) - math.log(2)


class ScoreAveraging(TwoStream):
    """Two streams with a classifier each, whose probabilities are averaged."""

    head: AverageScores  # type: ignore[assignment]

    def forward(self, clip: Tensor) -> Tensor:
        """Clip (B, T, 5, H, W), T ≥ 1, to log-probabilities (B, classes)."""
        rgb, flow = self.stream_features(clip)
        return self.head(self.dropout(rgb), self.dropout(flow))

    def features(self, clip: Tensor) -> Tensor:
        """Clip (B, T, 5, H, W) to (B, F'), float32: all features of RGB, then all of flow."""
        return torch.cat(self.stream_features(clip), 1)

    def stream_features(self, clip: Tensor) -> list[Tensor]:
        """Return the features of RGB and of flow, (B, F'/2) each."""
        frames = (each.float().mean((2, 3)).unflatten(0, (clip.shape[0], -1)) for each in self.maps(clip))
        return [self.pool(each) for each in frames]

    @property
    def parts(self) -> tuple[int, int]:
        """Return the number of features of RGB and of flow."""
        return self.head.rgb.in_features, self.head.flow.in_features

    def set_head(self, weight: Tensor, bias: Tensor, mean: Tensor, std: Tensor) -> None:
        """Set the two linear classifiers, one for the features of each stream.

        weight (classes, F'), bias (2, classes), mean and std (F',) with std > 0.
        """
        layers = ((self.head.rgb, self.head.rgb_scale), (self.head.flow, self.head.flow_scale))
        of_streams = (weight.split(self.parts, 1), bias, mean.split(self.parts), std.split(self.parts))
        for (linear, scaler), *fitted in zip(layers, *of_streams, strict=True):
            set_linear(linear, scaler, *fitted)


class WithoutMagnitude(Normalise):
    """(N, 5, H, W) in 0..255 to r, g, b as (N, 3, H, W) and flow x, y as (N, 2, H, W)."""

    def forward(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        rgb, flow = super().forward(frames)
        return rgb, flow[:, :2].contiguous(memory_format=torch.channels_last)
