"""The table of the search and its choice, from what candidates predicted and what they cost."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from slimstream.clips.params import ExtractParams
from slimstream.stages.search.candidates import AnyCandidate, describe
from slimstream.stages.search.stage import MEASURED
from slimstream.stages.search.timing import Row
from slimstream.training.cheapest import choose_on_folds, front
from slimstream.training.inner_folds import InnerFolds
from slimstream.training.metrics.classification import Ints
from slimstream.training.metrics.intervals import Resampling


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
    candidates: Sequence[AnyCandidate],
    extract: ExtractParams,
    args: Mapping[str, Any],
    costs: Sequence[Row],
    predicted: Sequence[Ints],
    truth: Ints,
    folds: InnerFolds,
    draws: Resampling,
    classes: int,
    margin: float,
    epochs: int = 0,
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The rows of the table, and the choice for search.json.

    `costs` are those of `timing.total_costs`; `predicted` the classes (N,) that each candidate predicts for
    clips of the classes `truth` (N,) that it has not seen.
    """
    spent = np.array([cost["file_to_answer_ms"] for cost in costs])
    scores, choice, drawn = choose_on_folds(predicted, truth, folds, draws, classes, spent, margin)
    leads = front(scores, spent)
    entries = [describe(one, extract, args) for one in candidates]
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
    return rows, {
        **judged,
        "why": choice.why,
        "undecided": [candidates[i].title for i in choice.undecided],
        "margin": margin,
        "folds": {"by": folds.by, "count": folds.count, "note": folds.label, "resampled": drawn},
    }
