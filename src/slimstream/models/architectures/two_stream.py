"""The two-stream network: two backbones, fusion, pooling over time and head."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal, Protocol, cast, runtime_checkable

import torch
from torch import Tensor, nn

from slimstream.models.base import Classifier, Standardise

Pool = Literal["mean", "mean_std"]


class NormaliseRgb(nn.Module):
    """Normalise pictures by the `mean` and `std` of a backbone (of values in 0..1).

    (N, 3 or 5, H, W) in 0..255 to (N, 3, H, W); flow channels are dropped.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, *, mean: tuple[float, float, float], std: tuple[float, float, float]) -> None:
        super().__init__()
        self.register_buffer("mean", 255 * torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", 255 * torch.tensor(std).view(1, 3, 1, 1), persistent=False)

    def forward(self, frames: Tensor) -> Tensor:
        return channels_last((frames[:, :3].float() - self.mean) / self.std)


class NormaliseFlow(nn.Module):
    """Scale flow: (N, 2 or 5, H, W) in 0..255, whose last two channels are flow x and y, to (N, 3, H, W).

    Flow is scaled to -1..1 (1 is the bound of extraction; the byte 128, no motion, becomes 0). Its magnitude
    is the third channel, from -1 for no motion to 1 at the bound, so that all three have the range that a
    pretrained backbone expects. P1's flow images also have three channels.
    """

    def forward(self, frames: Tensor) -> Tensor:
        first = frames.shape[1] - 2
        flow = (frames[:, first : first + 2].float() - 128) / 127
        magnitude = flow.square().sum(1, keepdim=True).sqrt().clamp(max=1)
        return channels_last(torch.cat((flow, 2 * magnitude - 1), 1))


class Normalise(nn.Module):
    """Split and scale frames of a pack: (N, 5, H, W) in 0..255 to two pictures (N, 3, H, W), RGB and flow.

    RGB is normalised as in `NormaliseRgb`, flow as in `NormaliseFlow`.
    """

    def __init__(self, *, mean: tuple[float, float, float], std: tuple[float, float, float]) -> None:
        super().__init__()
        self.rgb = NormaliseRgb(mean=mean, std=std)
        self.flow = NormaliseFlow()

    def forward(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        return self.rgb(frames), self.flow(frames)


class TimePool(nn.Module):
    """(B, T, F) to (B, F) 'mean' over time, or to (B, 2·F) 'mean_std': mean, then standard deviation."""

    def __init__(self, kind: Pool) -> None:
        super().__init__()
        self.kind = kind

    def forward(self, x: Tensor) -> Tensor:
        mean = x.mean(1)
        if self.kind == "mean":
            return mean
        variance = (x - mean.unsqueeze(1)).square().mean(1)
        # The lower limit keeps the gradient of the root finite without change, as for a single frame.
        return torch.cat((mean, variance.clamp(min=1e-8).sqrt()), 1)


class GridMean(nn.Module):
    """(N, F, h, w) to (N, F·g·g), float32: means of all channels over g × g equal cells, cell by cell.

    With `grid` g = 1 that is the mean over the picture. With more, the classifier knows where things are.
    """

    def __init__(self, grid: int) -> None:
        super().__init__()
        self.grid = grid

    def forward(self, x: Tensor) -> Tensor:
        # In float32, because half precision is too coarse for sums over space and time.
        x = x.float()
        if self.grid == 1:
            return x.mean((2, 3))
        down, across = (self._shares(n, x.device) for n in x.shape[2:])
        # Put together by `cat`, through which Torch-Pruning follows the channels.
        return torch.cat([(x * (a.unsqueeze(1) * b)).sum((2, 3)) for a in down for b in across], 1)

    def _shares(self, n: int, device: torch.device) -> Tensor:
        """(g, n): the weight of each of n pixels in each cell's mean; a cell's border may cut a pixel."""
        cell = torch.arange(self.grid, device=device).unsqueeze(1)
        pixel = torch.arange(n, device=device).unsqueeze(0)
        ends = torch.minimum((pixel + 1) * self.grid, (cell + 1) * n)
        return (ends - torch.maximum(pixel * self.grid, cell * n)).clamp(min=0).float() / n


@runtime_checkable
class HasFrozenStages(Protocol):
    """A backbone whose first `frozen` stages are not trained."""

    stages: nn.Sequential
    frozen: int
    halfway: int

    def frozen_features(self, x: Tensor) -> Tensor:
        """Run the frozen stages: (N, 3, H, W) to (N, C', h', w')."""

    def from_frozen(self, x: Tensor) -> Tensor:
        """Run the remaining stages: (N, C', h', w') to the last map (N, C, h, w)."""


class TwoStream(Classifier):
    """Appearance and motion, each through a 2-D backbone, frame by frame (P1, Fig. 1).

    ::

        clip (B, T, 5, H, W)
          r g b ── rgb ──── (B·T, C, h, w) ─┐
                                            fusion ── joint ── (B·T, F, h, w) ── cells ── pool over T
          x y |v| ─ flow ── (B·T, C, h, w) ─┘                                                 │
                            logits (B, classes) ── head ── dropout ── standardise ── features (B, F')

    Args:
        normalise: (N, 5, H, W) in 0..255 to the two streams' inputs, (N, 3, H, W) each.
        rgb: (N, 3, H, W) to a map (N, C, h, w).
        flow: the same for flow; None shares `rgb`. A shared backbone gets both streams as one batch, so its
            batch norm sees the same mixture in training and evaluation.
        fusion: two maps (N, C, h, w) to one.
        joint: the stages after an early fusion, to the last map (N, F, h, w), or None.
        cells: (N, F, h, w) to (N, F); None: the mean over the picture.
        pool: (B, T, F) to features (B, F').
        head: a callable from F' to the classifier, (B, F') to (B, classes).
        features: F'.
        standardise: standardise features before the head.
        dropout: probability that a feature is dropped in training.
    """

    channels = frozenset({5})
    classifier: Literal["logistic", "svm"] = "logistic"
    """Classifier when the head is fitted in closed form: logistic regression or a linear SVM."""

    def __init__(
        self,
        *,
        normalise: nn.Module,
        rgb: nn.Module,
        flow: nn.Module | None,
        fusion: nn.Module,
        pool: nn.Module,
        head: Callable[[int], Any],
        features: int,
        joint: nn.Module | None = None,
        cells: nn.Module | None = None,
        standardise: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.normalise = normalise
        self.rgb = rgb
        self.flow = flow
        self.fusion = fusion
        self.joint = joint or nn.Identity()
        self.cells = cells or GridMean(1)
        self.pool = pool
        self.standardise = Standardise(features) if standardise else nn.Identity()
        self.dropout = nn.Dropout(dropout)
        self.head = head(features)

    def features(self, clip: Tensor) -> Tensor:
        """Clip (B, T, 5, H, W) to the features for the head (B, F'), float32, before standardisation.

        Here and in the methods below, a clip may also be what the frozen layers have made of it.
        """
        return self.pool(self.frame_features(clip))

    def frame_features(self, clip: Tensor) -> Tensor:
        """Clip (B, T, 5, H, W) to (B, T, F), float32: both streams fused, averaged over the cells."""
        rgb, flow = self.maps(clip)
        frames: Tensor = self.cells(self.joint(self.fusion(rgb, flow)))
        # unflatten would fix the batch size in the export when an LSTM follows.
        return frames.reshape(clip.shape[0], clip.shape[1], -1)

    def maps(self, clip: Tensor) -> tuple[Tensor, Tensor]:
        """Return the last maps of both streams, (B·T, C, h, w) each."""
        if clip.ndim == 6:
            rgb, flow = (channels_last(x) for x in clip.flatten(0, 1).unbind(1))
            return cast(HasFrozenStages, self.rgb).from_frozen(rgb), cast(
                HasFrozenStages, self.flow
            ).from_frozen(flow)
        rgb, flow = self.normalise(clip.flatten(0, 1))
        if self.flow is None:
            both = self.rgb(torch.cat((rgb, flow)))
            return both[: rgb.shape[0]], both[rgb.shape[0] :]
        return self.rgb(rgb), self.flow(flow)

    def frozen_features(self, clip: Tensor) -> Tensor:
        """Run the frozen stages of both streams: (B, T, 5, H, W) to (B, T, 2, C', h', w').

        `clip` may also be the output of `shared_frozen_features`; then only the remaining frozen stages run.
        """
        if clip.ndim == 6:
            maps = (channels_last(x) for x in clip.flatten(0, 1).unbind(1))
            return self._through([net.stages[net.halfway : net.frozen] for net in self._frozen()], maps, clip)
        pictures = self.normalise(clip.flatten(0, 1))
        return self._through([net.stages[: net.frozen] for net in self._frozen()], pictures, clip)

    def frozen_layers(self) -> nn.Module | None:
        """Return the frozen stages of both streams, or None when a stream has none."""
        return nn.ModuleList(net.stages[: net.frozen] for net in self._frozen()) if self._frozen() else None

    def shared_frozen_features(self, clip: Tensor) -> Tensor:
        """Run the stages of `shared_frozen_layers`: (B, T, 5, H, W) to (B, T, 2, C', h', w')."""
        pictures = self.normalise(clip.flatten(0, 1))
        return self._through([net.stages[: net.halfway] for net in self._frozen()], pictures, clip)

    def shared_frozen_layers(self) -> nn.Module | None:
        """Return the first frozen stages, which networks with fewer frozen stages share, or None."""
        nets = self._frozen()
        if not nets or not all(0 < net.halfway < net.frozen for net in nets):
            return None
        return nn.ModuleList(net.stages[: net.halfway] for net in nets)

    def _frozen(self) -> list[HasFrozenStages]:
        """Return both streams when both have frozen stages, else an empty list."""
        nets: list[nn.Module | None] = [self.rgb, self.flow]
        frozen = [
            cast(HasFrozenStages, net) for net in nets if isinstance(net, HasFrozenStages) and net.frozen
        ]
        return frozen if len(frozen) == 2 else []

    @staticmethod
    def _through(stages: Sequence[nn.Module], pictures: Iterable[Tensor], clip: Tensor) -> Tensor:
        maps = [net(picture) for net, picture in zip(stages, pictures, strict=True)]
        return torch.stack(maps, 1).unflatten(0, (clip.shape[0], clip.shape[1]))


def channels_last(x: Tensor) -> Tensor:
    """Return `x` (N, C, H, W) with channels last in memory, which is fastest for depthwise convolutions."""
    return x.contiguous(memory_format=torch.channels_last)
