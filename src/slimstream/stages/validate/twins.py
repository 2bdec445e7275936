"""Clips that are not independent: the same bytes, or the same scene in a file with another name."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

NEIGHBOURS, RATIO, CHUNK, BLOCK = 10, 0.2, 256, 4


def identical_copies(clips: pd.DataFrame, part: pd.Series | None = None) -> dict[int, str]:
    """Rows to leave out because another row has the same bytes, with the reason.

    `clips` has `id, key, label, sha256`. Of equal clips with one label the first by key is kept; with several
    labels none is kept, because it is unknown which label is right. With `part`, the given part of each row,
    a test clip is kept rather than one of val, and one of val rather than one of train.
    """
    reasons: dict[int, str] = {}
    order = clips.assign(rank=0 if part is None else part.map(["test", "val", "train"].index))
    for _, same in order.sort_values(["rank", "key"]).groupby("sha256", sort=False):
        if same["label"].nunique() > 1:
            labels = ", ".join(sorted(same["label"].unique()))
            reasons |= {row: f"byte-identical clips have different labels: {labels}" for row in same.index}
        else:
            reasons |= {row: f"byte-identical to {same['key'].iloc[0]}" for row in same.index[1:]}
    return reasons


def near_twins(thumbs: npt.NDArray[np.float32], limit: float) -> npt.NDArray[np.int64]:
    """Near-twin sets of clips: (n, frames, h, w) grey thumbnails in 0..1 -> (n,) number of each clip's set.

    Two clips are linked when their thumbnails differ by less than `limit` on average *and* by less than a
    fifth of the distance to the tenth nearest neighbour. All clips of a fixed camera are similar, so a small
    difference is evidence only if it is small for that camera. Linked clips form sets transitively.
    The method is our own; it fails for more than ten re-encoded copies of one clip. h and w must be multiples
    of 4.
    """
    n = len(thumbs)
    if n < 2:
        return np.arange(n)
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    flat = thumbs.reshape(n, -1)
    i, j = _close_pairs(thumbs, limit)
    apart = np.abs(flat[i] - flat[j]).mean(axis=1)
    i, j, apart = i[apart < limit], j[apart < limit], apart[apart < limit]
    involved, row = np.unique(np.concatenate([i, j]), return_inverse=True)
    usual = _usual_distance(flat, involved)[row].reshape(2, -1).min(axis=0)
    i, j = i[apart <= RATIO * usual], j[apart <= RATIO * usual]
    graph = coo_matrix((np.ones(len(i)), (i, j)), shape=(n, n))
    return connected_components(graph, directed=False)[1].astype(np.int64)


def _close_pairs(thumbs: npt.NDArray[np.float32], limit: float) -> tuple[npt.NDArray[np.int64], ...]:
    """Candidate pairs i < j, among them all that are closer than `limit`.

    Means of blocks are compared: they are never further apart than the pixels, and 16 times as fast to
    compare."""
    from scipy.spatial.distance import cdist

    n, frames, h, w = thumbs.shape
    blocks = thumbs.reshape(n, frames, h // BLOCK, BLOCK, w // BLOCK, BLOCK).mean((3, 5)).reshape(n, -1)
    found = []
    for start in range(0, n, CHUNK):
        distance = cdist(blocks[start : start + CHUNK], blocks, "cityblock") / blocks.shape[1]
        rows, columns = np.nonzero(distance < limit + 1e-6)
        later = columns > rows + start
        found.append(np.stack([rows[later] + start, columns[later]]))
    return tuple(np.concatenate(found, axis=1))


def _usual_distance(flat: npt.NDArray[np.float32], rows: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Distance of the `rows` of `flat` (n, features) to their tenth nearest neighbour."""
    from scipy.spatial.distance import cdist

    k = min(NEIGHBOURS, len(flat) - 1)  # index 0 is the clip itself
    usual = np.empty(len(rows))
    for start in range(0, len(rows), CHUNK):
        distance = cdist(flat[rows[start : start + CHUNK]], flat, "cityblock") / flat.shape[1]
        usual[start : start + CHUNK] = np.partition(distance, k, axis=1)[:, k]
    return usual


def straying_twins(twin: Sequence[str], group: Sequence[str]) -> list[int]:
    """Positions of clips whose twins are in another group: one of the two group names must be wrong.

    Of a twin set that spans several groups, the clips outside its most frequent group are returned; in a tie
    all of them.
    """
    table = pd.DataFrame({"twin": list(twin), "group": list(group)})
    lost: list[int] = []
    for _, members in table.groupby("twin")["group"]:
        counts = members.value_counts()
        if len(counts) > 1:
            home = counts.index[0] if counts.iloc[0] > counts.iloc[1] else None
            lost += [int(i) for i in members.index[members != home]]
    return sorted(lost)
