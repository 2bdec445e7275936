"""Learning-rate schedules as pure functions of the epoch and the history, so resuming needs no state."""

import math
from collections.abc import Mapping, Sequence

from slimstream.training.params import FitParams


def multiplier(epoch: float, p: FitParams, history: Sequence[Mapping[str, float]] = ()) -> float:
    """Return the factor (0..1] of the peak learning rate at `epoch`, which includes the fraction of an epoch.

    Linear warm-up from `warmup_from` (P3's LR_warmup, as a share of the peak) over `warmup_epochs`, then

    - constant: the peak.
    - cosine: half a cosine down to 0 at the end. With several `cycles`, warm-up and cosine are repeated, each
      in an equal share of the epochs (P3; Loshchilov & Hutter, "SGDR", ICLR 2017).
    - step: multiplied by `decay` after each share `decay_at` of the epochs (P2: 0.1).
    - plateau: multiplied by `decay` when the validation loss has not improved for over `patience` epochs;
      `history` holds the rows of the finished epochs.
    """
    length = p.epochs / p.cycles if p.schedule == "cosine" else p.epochs
    since = epoch - length * min(epoch // length, p.cycles - 1) if p.schedule == "cosine" else epoch
    if since < p.warmup_epochs:
        return p.warmup_from + (1 - p.warmup_from) * max(since, 1e-3) / p.warmup_epochs
    match p.schedule:
        case "cosine":
            down = length - p.warmup_epochs
            return 0.5 * (1 + math.cos(math.pi * (since - p.warmup_epochs) / down)) if down > 0 else 0.0
        case "step":
            return math.prod(p.decay for share in p.decay_at if epoch >= share * p.epochs)
        case "plateau":
            return p.decay ** plateaus([row["val_loss"] for row in history], p.patience)
        case "constant":
            return 1.0


def plateaus(losses: Sequence[float], patience: int) -> int:
    """Count how often the loss did not improve by at least 0.01 % for more than `patience` epochs in a row.

    After each plateau the count of epochs starts at 0, as in PyTorch's ReduceLROnPlateau.
    """
    found, waited, best = 0, 0, math.inf
    for loss in losses:
        if loss < best * (1 - 1e-4):
            best, waited = loss, 0
        else:
            waited += 1
        if waited > patience:
            found, waited = found + 1, 0
    return found
