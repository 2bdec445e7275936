"""Training clips whose label is probably wrong, by confident learning.

Northcutt, Jiang and Chuang (2021), "Confident learning: estimating uncertainty in dataset labels", Journal of
Artificial Intelligence Research 70: a clip is suspected when networks that have not learnt from it find
another class likelier than they find that class on average for clips labelled so.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from slimstream.runtimes.calibration import Floats
from slimstream.training.metrics.classification import Ints

FILE = "suspects.json"
"""In the folder of an export; `watch` reads it."""


@dataclass(frozen=True)
class Suspect:
    """A clip whose label is probably wrong."""

    id: str
    """Of the manifest, see `catalog.manifest.clip_id`."""
    given: str
    """Its label."""
    suggested: str
    """The class that it probably shows."""
    p_given: float
    p_suggested: float
    """What networks say that have not learnt from its group, 0..1."""


def confident_classes(probabilities: Floats, given: Ints) -> Ints:
    """The class (N,) that each clip confidently shows, -1 where it shows none.

    A class counts for a clip if its probability is at least the mean of that probability over the clips with
    this label; of several that count, it is the likeliest. `probabilities` (N, n), 0..1, are by networks that
    have not learnt from the clip, `given` (N,) are the labels. A class without clips never counts.
    """
    n = probabilities.shape[1]
    own = [probabilities[given == k, k] for k in range(n)]
    least = np.array([p.mean() if len(p) else np.inf for p in own])
    counts = probabilities >= least
    return np.where(counts.any(1), np.where(counts, probabilities, -1.0).argmax(1), -1)


def find_suspects(
    probabilities: Floats, given: Ints, ids: Sequence[str], classes: Sequence[str]
) -> list[Suspect]:
    """Clips that confidently show another class than `given` (N,), the surest first.

    For `probabilities` (N, n) see `confident_classes`. Several rows of one id, as parts of a video, are one
    clip, whose probabilities are their mean.
    """
    names, first, row = np.unique(np.asarray(ids, str), return_index=True, return_inverse=True)
    mean = np.zeros((len(names), probabilities.shape[1]))
    np.add.at(mean, row, probabilities)
    mean /= np.bincount(row)[:, None]
    label, shown = given[first], confident_classes(mean, given[first])
    found = [
        Suspect(
            str(names[i]),
            classes[label[i]],
            classes[shown[i]],
            round(float(mean[i, label[i]]), 4),
            round(float(mean[i, shown[i]]), 4),
        )
        for i in np.flatnonzero((shown >= 0) & (shown != label) & (mean.argmax(1) != label))
    ]
    return sorted(found, key=lambda s: (s.p_given - s.p_suggested, s.id))


def write_suspects(suspects: Sequence[Suspect], judged: int, folder: Path) -> None:
    """Write `suspects` among so many `judged` clips to FILE in `folder`."""
    content = {"judged": judged, "suspects": [asdict(suspect) for suspect in suspects]}
    (folder / FILE).write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
