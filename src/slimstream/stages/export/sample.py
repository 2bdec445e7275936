"""A sample of the train and val clips, with which cameras are compared once the network is in use."""

import numpy as np
import pandas as pd

from slimstream.runtimes.appearance import APPEARANCE, appearance, mean_picture
from slimstream.runtimes.calibration import Floats
from slimstream.runtimes.seen import Seen
from slimstream.runtimes.split_part import SplitPart, spread_indices

MOST = 400
"""Clips of a sample."""


def seen_sample(clips: SplitPart, some: list[int], said: Floats) -> Seen:
    """At most MOST of the clips with the indices `some`, evenly spread; `said` (some, …) is `Fitted.numbers`.

    `clips` have the size that `extract` gave them. Colours of grey clips are NaN.
    """
    chosen = spread_indices(len(some), MOST)
    looks = []
    for i in (some[k] for k in chosen):
        frames = clips.clips.all_frames(i)
        look = appearance(mean_picture(frames))
        if frames.shape[3] == 1:
            look[[APPEARANCE.index("red"), APPEARANCE.index("blue")]] = np.nan
        looks.append(look)
    rows = [some[k] for k in chosen]
    group = pd.factorize(clips.rows["group"].iloc[rows])[0].astype(np.int64)
    return Seen(np.hstack([np.stack(looks), said[chosen]]).astype(np.float32), clips.truth[rows], group)
