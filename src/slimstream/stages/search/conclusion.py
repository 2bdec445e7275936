"""The table of the search and its choice, from what candidates predicted and what they cost."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from slimstream.stages.search.stage import MEASURED
from slimstream.stages.search.timing import Row
from slimstream.training.cheapest import choose_on_folds, front
from slimstream.training.inner_folds import InnerFolds, scores_of_folds
from slimstream.training.metrics.classification import Ints
from slimstream.training.metrics.intervals import Resampling


@dataclass(frozen=True)
class Judges:
    """Clips that judge candidates, each of which is asked about those that it has not learnt from."""

    truth: Ints
    """Their classes (N,)."""
    classes: int
    folds: InnerFolds
    draws: Resampling

    def score(self, predicted: Ints) -> float:
        """Macro-F1 of the classes (N,) that a candidate predicts."""
        return float(scores_of_folds(self.truth, predicted, self.folds, self.classes)[0])


def table_row(described: dict[str, Any], cost: Row, score: float, epochs: int) -> dict[str, Any]:
    """The row of a candidate that was left behind, without a loss against the best: its epochs are fewer."""
    height, width = described["size"]
    return {
        "candidate": described["title"],
        "model": described["model"],
        "streams": described["streams"],
        "frames": "all" if described["frames"] is None else described["frames"],
        "size": f"{height}x{width}",
        "depth": described["depth"],
        "grid": described["grid"],
        "backbone": described["backbone"],
        "epochs": epochs,
        "macro_f1": score,
        **{name: float("nan") for name in ("loss", "low", "high")},
        **cost,
        "on_front": False,
        "chosen": False,
    }


def conclude(
    entries: Sequence[dict[str, Any]],
    costs: Sequence[Row],
    predicted: Sequence[Ints],
    judges: Judges,
    margin: float,
    epochs: int = 0,
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The rows of the table, and the choice for search.json.

    `entries` are those of `candidates.describe`, `costs` those of `timing.total_costs`; `predicted` are the
    classes (N,) that each candidate predicts for the clips of `judges`.
    """
    spent, spread = (np.array([cost[key] for cost in costs]) for key in ("file_to_answer_ms", "spread_ms"))
    scores, choice, drawn = choose_on_folds(
        predicted, judges.truth, judges.folds, judges.draws, judges.classes, spent, margin, spread
    )
    leads = front(scores, spent)
    rows = [
        table_row(entry, costs[i], scores[i], epochs)
        | {"loss": scores[choice.best] - scores[i], "low": choice.low[i], "high": choice.high[i]}
        | {"on_front": bool(leads[i]), "chosen": i == choice.chosen}
        for i, entry in enumerate(entries)
    ]
    judged = {
        name: entries[i] | {key: float(rows[i][key]) for key in MEASURED}
        for name, i in (("chosen", choice.chosen), ("best", choice.best))
    }
    folds = judges.folds
    return rows, {
        **judged,
        "why": choice.why,
        "undecided": [entries[i]["title"] for i in choice.undecided],
        "margin": margin,
        "folds": {"by": folds.by, "count": folds.count, "note": folds.label, "resampled": drawn},
    }
