"""The verdict on a version, in the words that terminal, flow, report, MLflow and alerts all use.

`publish` makes it once. Importing this loads no torch and no MLflow.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from slimstream.stages.evaluate.model_rows import ORIGINAL, Cost, model_rows


@dataclass(frozen=True)
class Verdict:
    """Whether a registered version is in use, why, and how it compares with its original."""

    name: str
    """Name of the registered model."""
    version: int
    model: str
    """Name of the published model, such as "pruned"."""
    champion: int | None
    """The version that is champion now."""
    changed: bool
    """True when this publish, or one of the same version that was cut off, has changed the champion."""
    reasons: tuple[str, ...]
    """The gate's reasons, without a full stop."""
    comparison: tuple[str, ...]
    """Sentences of `compare_with_original`."""
    date: str
    """When it was judged, in UTC, ISO 8601."""
    run_id: str | None = None
    """MLflow run of the pipeline that published it."""
    run_url: str = ""
    """Its page in MLflow; empty without a server."""
    commit: str = ""
    """Commit of the code that made the version; empty without a repository."""
    commit_url: str = ""
    """Its page at the host of the repository; empty without one."""
    dirty: bool = False
    """Whether files were changed since that commit."""

    @property
    def promoted(self) -> bool:
        """Whether this version is the champion."""
        return self.champion == self.version

    @property
    def standing(self) -> str:
        """As "tank version 3 (slim) is champion"."""
        what = f"{self.name} version {self.version} ({self.model})"
        if self.promoted:
            return f"{what} is champion"
        instead = f"version {self.champion} stays" if self.champion else "there is none yet"
        return f"{what} is registered, but not champion ({instead})"

    @property
    def sentences(self) -> list[str]:
        """What it is and why, what it saves, what it costs."""
        return [f"{self.standing}: {'; '.join(self.reasons)}.", *self.comparison]

    def __str__(self) -> str:
        return "\n".join(self.sentences)

    def to_json(self) -> dict[str, Any]:
        """The content of runs/publish.json: all fields, `promoted` and `sentences`."""
        return {**asdict(self), "promoted": self.promoted, "sentences": self.sentences}


def compare_with_original(flat: Mapping[str, float], name: str) -> list[str]:
    """What the model `name` saves, and what it costs in macro-F1 with its interval: two sentences at most.

    `flat` is the content of metrics/evaluate.json. What was not measured is left out.
    """
    row = next((row for row in model_rows(flat) if row.name == name), None)
    if row is None or name == ORIGINAL or f"{ORIGINAL}.macro_f1" not in flat:
        return []
    taken = [_taken(cost, SAVED[cost.key]) for cost in row.costs if cost.key in SAVED and cost.ratio]
    return [*([f"It takes {' and '.join(taken)}."] if taken else []), _quality(row.scores, flat)]


SAVED = {"file_to_answer_p50_ms": " from file to answer", "megabytes": ""}
"""Costs of the first sentence, with the words that follow the number."""


def _taken(cost: Cost, what: str) -> str:
    """As "31 ms from file to answer instead of 124 ms (75 % less)"."""
    assert cost.value is not None and cost.ratio
    whole = replace(cost, value=cost.value / cost.ratio, ratio=None).absolute
    change = round(100 * (cost.ratio - 1))
    if cost.equal and cost.absolute != whole:
        return f"{cost.absolute}{what} (no measurable difference to the original's {whole})"
    if cost.equal or not change:
        return f"{cost.absolute}{what} (as the original)"
    return f"{cost.absolute}{what} instead of {whole} ({abs(change)} % {'more' if change > 0 else 'less'})"


def _quality(scores: Mapping[str, float], flat: Mapping[str, float]) -> str:
    """The macro-F1 beside the original's, with the intervals that evaluate gives."""
    whole = flat[f"{ORIGINAL}.macro_f1"]
    mine = f"Its macro-F1 is {scores['macro_f1']:.3f}"
    if "macro_f1_low" in scores:
        mine += f" (95 % interval {scores['macro_f1_low']:.2f} to {scores['macro_f1_high']:.2f})"
    told = f"{mine}, {_aside(scores['macro_f1'] - whole)} the original's {whole:.3f}"
    if "delta_macro_f1_low" in scores:
        ends = [_aside(scores[f"delta_macro_f1_{end}"], alone=True) for end in ("low", "high")]
        between = " to ".join(ends) if ends != ["equal", "equal"] else "equal at both ends"
        told += f" (95 % interval of the difference: {between})"
    return f"{told}."


def _aside(difference: float, *, alone: bool = False) -> str:
    """A difference in words: "0.088 below", "0.004 above"; "equal" or "equal to" where it rounds to 0."""
    if not (size := round(abs(difference), 3)):
        return "equal" if alone else "equal to"
    return f"{size:.3f} {'below' if difference < 0 else 'above'}"
