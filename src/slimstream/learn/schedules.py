"""Learning rates as pure functions of time, so that a resumed training needs no scheduler state."""

import math
from typing import Literal

Schedule = Literal["constant", "cosine"]


def multiplier(epoch: float, *, epochs: int, warmup: int, schedule: Schedule) -> float:
    """Share (0..1] of the peak learning rate at `epoch` (fractions count steps within an epoch).

    Linear warm-up from 0 over `warmup` epochs, then constant, or half a cosine down to 0 at `epochs`
    (Loshchilov & Hutter 2017, without restarts).
    """
    if epoch < warmup:
        return max(epoch, 1e-3) / warmup
    if schedule == "constant":
        return 1.0
    return 0.5 * (1 + math.cos(math.pi * (epoch - warmup) / max(1, epochs - warmup)))
