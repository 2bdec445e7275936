"""The table of evaluated models, for report, flow and command line. Importing this loads no torch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from slimstream.core.paths import models_scored

ORIGINAL = "original"
COSTS = {
    "file_to_answer_p50_ms": ("file to answer", "ms", "file_to_answer_ratio"),
    "latency_p50_ms": ("network", "ms", "latency_ratio"),
    "megabytes": ("size", "MB", None),
}
"""Scores that are shown against those of the original: title, unit, and for what is measured with a spread
the name of the ratio, whose 95 % interval evaluate gives as `<name>_low` and `<name>_high`."""


@dataclass(frozen=True)
class Cost:
    """One of COSTS of a model."""

    key: str
    title: str
    unit: str
    value: float | None
    """None: not measured."""
    ratio: float | None
    """Share of the original's; None for the original itself, or where one of the two was not measured."""
    equal: bool = False
    """Whether no difference to the original was measured: the interval of the ratio holds 1, or it rounds to
    1.00."""

    @property
    def absolute(self) -> str:
        """As "31 ms"; numbers below 20 have one more digit."""
        if self.value is None:
            return "–"
        digits = 0 if self.value >= 20 else 1 if self.value >= 1 else 2
        return f"{self.value:.{digits}f} {self.unit}"

    @property
    def relative(self) -> str:
        """As "0.28 ×", or "equal"; empty without a ratio."""
        return "" if self.ratio is None else "equal" if self.equal else f"{self.ratio:.2f} ×"

    def __str__(self) -> str:
        """As "0.28 × (31 ms)"; the absolute value alone without a ratio."""
        return self.absolute if self.ratio is None else f"{self.relative} ({self.absolute})"


@dataclass(frozen=True)
class ModelRow:
    """One model of the table."""

    name: str
    scores: Mapping[str, float]
    """Its metrics without the name of the model."""
    costs: Sequence[Cost]
    """In the order of COSTS."""


def model_rows(flat: Mapping[str, float]) -> list[ModelRow]:
    """One row per model, in the order of the table; `flat` is the content of metrics/evaluate.json."""
    rows = []
    for name in models_scored(flat):
        scores = {
            key.removeprefix(f"{name}."): value for key, value in flat.items() if key.startswith(f"{name}.")
        }
        rows.append(ModelRow(name, scores, [cost_of(flat, name, key) for key in COSTS]))
    return rows


def text_table(flat: Mapping[str, float]) -> list[dict[str, str]]:
    """The rows as text, for a terminal or Markdown: title of the column → cell."""
    return [
        {
            "model": row.name,
            "macro-F1": _number(row.scores.get("macro_f1"), ".3f"),
            "accuracy": _number(row.scores.get("accuracy"), ".3f"),
            "parameters": _number(row.scores.get("params"), ",.0f"),
            **{cost.title: str(cost) for cost in row.costs},
        }
        for row in model_rows(flat)
    ]


def cost_of(flat: Mapping[str, float], name: str, key: str) -> Cost:
    """The cost `key`, one of COSTS, of the model `name`; `flat` is the content of metrics/evaluate.json."""
    what, unit, ratio_name = COSTS[key]
    mine, whole = flat.get(f"{name}.{key}"), flat.get(f"{ORIGINAL}.{key}")
    if name == ORIGINAL or mine is None or not whole:
        return Cost(key, what, unit, mine, None)
    ratio = mine / whole
    low, high = (flat.get(f"{name}.{ratio_name}_{end}", ratio) for end in ("low", "high"))
    return Cost(key, what, unit, mine, ratio, low <= 1 <= high or round(ratio, 2) == 1)


def _number(value: float | None, form: str) -> str:
    return "–" if value is None else format(value, form)
