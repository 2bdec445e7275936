"""The clips of one part of the split as inputs of a deployed network, with all sampled frames."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pandas as pd

from slimstream.clips.params import Reduction
from slimstream.core.parallel import cores
from slimstream.core.paths import Paths
from slimstream.core.progress import progress_bar
from slimstream.datasets.dataset import ClipDataset
from slimstream.runtimes.base import Network, softmax

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class SplitPart:
    """The clips of one part. `rows`: `id, label, group, twin, video` and `clip`, its number in the video.

    `truth` (N,) int64 holds class indices.
    """

    rows: pd.DataFrame
    clips: ClipDataset
    truth: npt.NDArray[np.int64]

    @classmethod
    def of(cls, split: pd.DataFrame, part: str, classes: list[str], paths: Paths, *more: str) -> "SplitPart":
        """The clips of `part`, and of the parts `more`."""
        rows = split[split["part"].isin((part, *more))].sort_values("id").reset_index(drop=True)
        truth = [classes.index(label) for label in rows["label"]]
        clips = ClipDataset(paths.packs, rows["id"].tolist(), truth)
        rows = rows.iloc[clips.given].assign(clip=clips.numbers).reset_index(drop=True)
        return cls(rows, clips, np.array(clips.labels, np.int64))

    def reduced(self, reduce: Reduction | None) -> "SplitPart":
        """The same clips as a network sees them whose input has this `reduce`."""
        return replace(self, clips=self.clips.reduced(reduce))

    def __len__(self) -> int:
        return len(self.rows)

    def batch(self, i: int) -> npt.NDArray[np.uint8]:
        """All sampled frames of clip i, (1, T, C, H, W) uint8."""
        return np.array(self.clips.all_frames(i).transpose(0, 3, 1, 2)[None], order="C")

    def median_clip(self) -> npt.NDArray[np.uint8]:
        """The clip of median length, (1, T, C, H, W) uint8."""
        by_length = np.argsort(self.clips.lengths, kind="stable")
        return self.batch(int(by_length[len(by_length) // 2]))

    def predict(self, network: Network, title: str, some: Sequence[int] | None = None) -> Floats:
        """Probabilities (N, n) of all clips, or of those with the indices `some`; one clip per core."""
        return softmax(self.outputs(network, title, some))

    def outputs(
        self, network: Network, title: str, some: Sequence[int] | None = None
    ) -> npt.NDArray[np.float32]:
        """What `network` returns for each clip, (N, …), as `predict`."""
        chosen = range(len(self)) if some is None else some
        with ThreadPoolExecutor(cores()) as pool:
            answers = pool.map(lambda i: network(self.batch(i))[0], chosen)
            return np.stack(list(progress_bar(answers, title, total=len(chosen))))


def spread_indices(frames: int, count: int) -> list[int]:
    """At most `count` indices, evenly spaced over `range(frames)`."""
    return np.unique(np.linspace(0, frames - 1, min(count, frames)).round().astype(int)).tolist()
