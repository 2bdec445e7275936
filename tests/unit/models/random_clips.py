"""Made-up clips for the tests of networks."""

import torch
from torch import Tensor, nn

torch.set_num_threads(1)


def clip_of(frames: int, *, batch: int = 2, channels: int = 5, side: int | tuple[int, int] = 64) -> Tensor:
    """(batch, frames, channels, H, W) uint8 noise, always the same for the same arguments."""
    height, width = (side, side) if isinstance(side, int) else side
    generator = torch.Generator().manual_seed(frames)
    return torch.randint(
        0, 256, (batch, frames, channels, height, width), dtype=torch.uint8, generator=generator
    )


def params(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())
