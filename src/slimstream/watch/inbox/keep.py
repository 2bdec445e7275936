"""Which windows are kept where there is no room for all."""

from collections.abc import Sequence
from itertools import combinations

import numpy as np

from slimstream.watch.inbox.item import Item


def leaving(kept: Sequence[Item], new: Item, most: int) -> Item | None:
    """Who leaves so that at most `most` windows of one camera and day stay; None where there is room.

    Of the two that are most alike the less useful one leaves, which may be `new` itself. So the smallest
    distance between two windows never gets smaller, and one long fault cannot fill the day. One that was
    decided on never leaves. Where places are not known, all are alike, and the least useful one leaves.
    """
    if len(kept) < most:
        return None
    everyone = [*kept, new]
    pairs = [pair for pair in combinations(everyone, 2) if any(item.open for item in pair)]
    if not any(item.open for item in kept) or not pairs:
        return new
    closest = min(distance(*pair) for pair in pairs)
    alike = {item.id: item for pair in pairs if distance(*pair) <= closest for item in pair if item.open}
    return min(alike.values(), key=lambda item: (item.usefulness, item.time))


def distance(one: Item, other: Item) -> float:
    """How far apart two windows lie: infinite for answers of two networks, 0 where it is not known."""
    if one.version != other.version or len(one.place) != len(other.place):
        return float("inf")
    return float(np.linalg.norm(np.subtract(one.place, other.place))) if one.place else 0.0


def surplus(items: Sequence[Item], sizes: Sequence[int], most: int, most_bytes: float) -> list[Item]:
    """Who leaves so that at most `most` items of `most_bytes` bytes stay. Labelled ones stay, uncounted.

    `sizes` are the bytes of the `items`. Dismissed ones leave first, then the least useful.
    """
    left = [(item, size) for item, size in zip(items, sizes, strict=True) if item.label is None]
    left.sort(key=lambda pair: (pair[0].dismissed, -pair[0].usefulness, pair[0].time))
    gone = []
    while left and (len(left) > most or sum(size for _, size in left) > most_bytes):
        gone.append(left.pop()[0])
    return gone
