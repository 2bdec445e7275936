"""How many test clips a version got right, by group and by class: for its card."""

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import pandas as pd

from slimstream.core.paths import Paths

FILE = "scores.json"
"""Kept with a version; versions of earlier times have none."""
Z = 1.96
"""Of a 95 % interval."""


@dataclass(frozen=True)
class Score:
    """Test clips of one group or class."""

    name: str
    clips: int
    sets: int
    """Near-twin sets among them: clips of one set are not independent."""
    right: int

    @property
    def share(self) -> float:
        """Of right clips, 0..1."""
        return self.right / self.clips

    @property
    def interval(self) -> tuple[float, float]:
        """95 % interval of `share` (Wilson 1927), in which a near-twin set counts once."""
        p, n = self.share, self.sets
        middle = (p + Z**2 / (2 * n)) / (1 + Z**2 / n)
        half = Z / (1 + Z**2 / n) * math.sqrt(p * (1 - p) / n + Z**2 / (4 * n**2))
        return max(0.0, middle - half), min(1.0, middle + half)

    @property
    def row(self) -> str:
        """As "north: 7 of 8 (53 to 98 %)"."""
        low, high = self.interval
        return f"{self.name}: {self.right} of {self.clips} ({100 * low:.0f} to {100 * high:.0f} %)"


@dataclass(frozen=True)
class Scores:
    """Of one model, as deployed."""

    groups: Sequence[Score]
    """The lowest share first."""
    classes: Sequence[Score]

    def to_json(self) -> str:
        """The content of scores.json."""
        return json.dumps({key: [asdict(row) for row in rows] for key, rows in vars(self).items()}, indent=2)


def count_scores(paths: Paths, model: str) -> Scores:
    """The scores of `model` on the test clips that evaluate asked it about."""
    found = pd.read_parquet(paths.predictions).query("model == @model")
    found = found.assign(right=found["predicted"] == found["label"])
    clips = found.merge(pd.read_parquet(paths.split)[["id", "group", "twin"]], on="id")
    groups = sorted(_count(clips, "group"), key=lambda score: score.share)
    return Scores(groups, list(_count(clips, "label")))


def read_scores(folder: Path) -> Scores | None:
    """The scores kept in `folder`; None where there are none."""
    if not (folder / FILE).is_file():
        return None
    content = json.loads((folder / FILE).read_text("utf-8"))
    return Scores(*([Score(**row) for row in content[key]] for key in ("groups", "classes")))


def _count(clips: pd.DataFrame, column: str) -> Iterable[Score]:
    for name, rows in clips.groupby(column):
        yield Score(str(name), len(rows), rows["twin"].nunique(), int(rows["right"].sum()))
