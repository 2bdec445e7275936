"""Clips that are not independent witnesses: the same bytes, or the same moment under another name."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

NEIGHBOURS, RATIO, CHUNK = 10, 0.2, 256


def identical(clips: pd.DataFrame) -> dict[int, str]:
    """Rows to leave out because their bytes are another row's, with the reason.

    `clips` has `id, key, label, sha256`. Of equal clips with one label the first by key stays; with several
    labels none does, for nobody can say which is right.
    """
    reasons: dict[int, str] = {}
    for _, same in clips.sort_values("key").groupby("sha256", sort=False):
        if same["label"].nunique() > 1:
            labels = ", ".join(sorted(same["label"].unique()))
            reasons |= {row: f"byte-identical clips have different labels: {labels}" for row in same.index}
        else:
            reasons |= {row: f"byte-identical to {same['key'].iloc[0]}" for row in same.index[1:]}
    return reasons


def near(thumbs: npt.NDArray[np.float32], limit: float) -> npt.NDArray[np.int64]:
    """Near-twin sets of clips: (n, frames, h, w) grey thumbnails in 0..1 -> (n,) number of each clip's set.

    Clips are linked when their thumbnails differ by less than `limit` on average *and* by less than a fifth
    of what is usual around them: the distance to a clip's tenth neighbour. A fixed camera makes all its clips
    look alike, so a small difference means nothing unless it is small for that camera. Links chain to sets.
    Ours; more than ten re-encoded copies of one clip hide one another.
    """
    n = len(thumbs)
    if n < 2:
        return np.arange(n)
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components
    from scipy.spatial.distance import cdist

    flat = thumbs.reshape(n, -1)
    k = min(NEIGHBOURS, n - 1)  # counted from 1, for a clip's nearest is itself
    usual = np.empty(n)
    close: list[tuple[int, int, float]] = []
    for start in range(0, n, CHUNK):
        distance = cdist(flat[start : start + CHUNK], flat, "cityblock") / flat.shape[1]
        usual[start : start + CHUNK] = np.partition(distance, k, axis=1)[:, k]
        rows, columns = np.nonzero(distance < limit)
        close += zip(rows + start, columns, distance[rows, columns], strict=True)
    links = [(i, j) for i, j, d in close if d <= RATIO * min(usual[i], usual[j])]
    graph = coo_matrix((np.ones(len(links)), tuple(np.array(links, int).reshape(-1, 2).T)), shape=(n, n))
    return connected_components(graph, directed=False)[1].astype(np.int64)


def strays(twin: Sequence[str], group: Sequence[str]) -> list[int]:
    """Positions of clips whose twins lie in another group: one of the two group names must be wrong.

    Of a twin set that spans groups those outside its most frequent group stray; on a tie all of them.
    """
    table = pd.DataFrame({"twin": list(twin), "group": list(group)})
    lost: list[int] = []
    for _, members in table.groupby("twin")["group"]:
        counts = members.value_counts()
        if len(counts) > 1:
            home = counts.index[0] if counts.iloc[0] > counts.iloc[1] else None
            lost += [int(i) for i in members.index[members != home]]
    return sorted(lost)
