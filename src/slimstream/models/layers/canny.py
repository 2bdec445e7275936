"""Canny's edge detector and the bounding box of its edges, as tensor operations that can be exported.

Canny, "A computational approach to edge detection" (PAMI 1986). Pictures in whole numbers give gradients in
whole numbers, which are exact in single precision, so every runtime finds the same edges and the same box.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

FOLLOWED = 16
"""Pixels over which a weak edge is followed from a strong one."""
TAN = 2**0.5 - 1
"""Tangent of 22.5°; that of 67.5° is larger by 2."""


def canny(pictures: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Edges of pictures (N, 1, H, W) float32 as 0 or 1, (N, 1, H, W) float32.

    Edges are the peaks of the gradient above `high` (N, 1, 1, 1), and those above `low` that are connected
    with one over at most FOLLOWED pixels. OpenCV's `Canny` finds the same, with a Sobel filter of 3×3 and the
    gradient's L1 norm.
    """
    x, y = gradient(pictures)
    strength = x.abs() + y.abs()
    peaks = are_peaks(strength, x, y)
    weak = (peaks & (strength > low)).float()
    edges = (peaks & (strength > high)).float()
    for _ in range(FOLLOWED):
        edges = F.max_pool2d(edges, 3, stride=1, padding=1) * weak
    return edges


def gradient(pictures: Tensor) -> tuple[Tensor, Tensor]:
    """Sobel's derivatives by x and y of pictures (N, 1, H, W), each (N, 1, H, W); the border is repeated."""
    nw, n, ne, w, _, e, sw, s, se = shifted(pictures, "replicate")
    return ne + 2 * e + se - nw - 2 * w - sw, sw + 2 * s + se - nw - 2 * n - ne


def are_peaks(strength: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Whether the `strength` (N, 1, H, W) of the gradient (x, y) is the largest along it; bool, (N, 1, H, W).

    The direction is rounded to eighths of a turn. Of two equal neighbours in a row or column the first is
    the peak; beyond the border the strength is 0.
    """
    nw, n, ne, w, _, e, sw, s, se = shifted(strength, "constant")
    flat, steep = y.abs() < TAN * x.abs(), y.abs() > (TAN + 2) * x.abs()
    rises = x * y < 0
    return (
        (flat & (strength > w) & (strength >= e))
        | (steep & (strength > n) & (strength >= s))
        | (~flat & ~steep & rises & (strength > ne) & (strength > sw))
        | (~flat & ~steep & ~rises & (strength > nw) & (strength > se))
    )


def shifted(maps: Tensor, mode: str) -> list[Tensor]:
    """What lies around and at every pixel of maps (N, 1, H, W): nine of them, row by row from the upper left.

    `mode` says what lies beyond the border, as in `torch.nn.functional.pad`.
    """
    padded = F.pad(maps, (1, 1, 1, 1), mode)
    cuts = (slice(0, -2), slice(1, -1), slice(2, None))
    return [padded[..., rows, columns] for rows in cuts for columns in cuts]


class CannyBox(nn.Module):
    """Cut out the bounding box of a picture's edges: (N, 1, H, W) in 0..255 to (N, 1, side, side) in 0..255.

    Edges are found after a 3×3 binomial filter. The thresholds are shares of the picture's strongest
    gradient, so the light does not matter. A picture without edges is kept whole. A box larger than `side` is
    scaled by weighted means, a smaller one by linear interpolation.

    Args:
        side: height and width of the result in pixels.
        high, low: thresholds as shares of the strongest gradient, 0..1.
        margin: pixels that are added on each side, as far as the picture reaches.
    """

    def __init__(self, *, side: int, high: float = 0.4, low: float = 0.2, margin: int = 2) -> None:
        super().__init__()
        self.side, self.high, self.low, self.margin = side, high, low, margin

    def forward(self, pictures: Tensor) -> Tensor:
        pictures = pictures.float()
        edges = self.edges(pictures.detach())
        down, across = (self._samples(edges.amax(dim).flatten(1)) for dim in (3, 2))
        return (down @ pictures[:, 0] @ across.transpose(1, 2)).unsqueeze(1)

    def edges(self, pictures: Tensor) -> Tensor:
        """Edges of pictures (N, 1, H, W) float32 in 0..255 as 0 or 1, (N, 1, H, W)."""
        nw, n, ne, w, middle, e, sw, s, se = shifted(pictures, "replicate")
        smooth = 4 * middle + 2 * (n + w + e + s) + nw + ne + sw + se
        x, y = gradient(smooth)
        strongest = (x.abs() + y.abs()).amax((2, 3), keepdim=True)
        return canny(smooth, self.low * strongest, self.high * strongest)

    def _samples(self, lines: Tensor) -> Tensor:
        """Weights (N, side, L) by which `side` rows or columns of the box are made of the picture's L.

        `lines` (N, L) is 1 where a row or column has an edge, else 0.
        """
        length = lines.shape[1]
        place = torch.arange(length, device=lines.device, dtype=torch.float32)
        empty = 1 - lines.amax(1)
        first = (place + length * (1 - lines)).amin(1) - length * empty
        last = ((place + 1) * lines).amax(1) - 1 + length * empty
        start, end = (first - self.margin).clamp(min=0), (last + 1 + self.margin).clamp(max=length)
        step = ((end - start) / self.side).unsqueeze(1)
        middles = start.unsqueeze(1) + (torch.arange(self.side, device=lines.device) + 0.5) * step - 0.5
        away = (middles.clamp(min=0, max=length - 1).unsqueeze(2) - place).abs()
        weights = (1 - away / step.clamp(min=1).unsqueeze(2)).clamp(min=0)
        return weights / weights.sum(2, keepdim=True)
