"""What the report holds: models, clips, and what is told about all of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from slimstream.runtimes.base import Form
from slimstream.stages.evaluate.report import plots

if TYPE_CHECKING:
    import pandas as pd

Rows = Sequence[Mapping[str, Any]]
LARGE_GROUP = 5
"""Test clips from which the share of right ones says something about a group."""


@dataclass(frozen=True)
class ModelResult:
    """One model on the test clips.

    `scores`: the metrics that evaluate returns for it, without the prefix (accuracy, macro_f1, macro_f1_low,
    …, params, macs, megabytes, latency_p50_ms, file_to_answer_p50_ms). `confusion`: counts (n, n), one row
    per true class. `curve`: its training, one row per epoch.
    """

    name: str
    scores: Mapping[str, float]
    confusion: Sequence[Sequence[int]]
    per_class: Rows
    reliability: Rows
    uncalibrated: Rows
    """The reliability before calibration."""
    curve: "pd.DataFrame | None"
    form: Form
    """The form that is deployed."""
    forms: Sequence[Form]
    """All forms that it was exported in."""
    per_group: Rows = ()
    """group, clips, right: how many of a group's test clips are classified right."""
    left_out: Mapping[str, float] = field(default_factory=dict)
    """Class → area under the ROC curve, see `Calibration.left_out`."""

    @property
    def title(self) -> str:
        return plots.title(self.name)

    @property
    def explanation(self) -> str:
        """What it is, in a few words."""
        frozen = self.kind == "original" and self.curve is None
        return plots.EXPLANATIONS[self.kind] + ("; frozen features, too: only its last layer learnt" * frozen)

    @property
    def weakest_class(self) -> Mapping[str, Any] | None:
        """The row of `per_class` with the lowest F1; None where no class has a clip."""
        return min((row for row in self.per_class if row["clips"]), key=lambda row: row["f1"], default=None)

    @property
    def weakest_group(self) -> Mapping[str, Any] | None:
        """The row of `per_group` with the lowest share of right clips; None if no two groups are large."""
        large = [row for row in self.per_group if row["clips"] >= LARGE_GROUP]
        return min(large, key=lambda row: row["right"] / row["clips"]) if len(large) > 1 else None

    def in_form(self, runtime: str) -> Form | None:
        """The measurements in `runtime`; None when it was not exported for it."""
        return next((form for form in self.forms if form.runtime == runtime), None)

    @property
    def kind(self) -> str:
        """Name of its colour in the page's CSS."""
        return plots.kind(self.name)


@dataclass(frozen=True)
class ClipPrediction:
    """One model's prediction for one clip, with heat maps as data URIs where they are shown."""

    title: str
    predicted: str
    probability: float
    rgb: str = ""
    flow: str = ""
    layers: Sequence[tuple[int, str]] = ()
    """For a network with one stream: number of a convolution, counted from 1, and its heat map."""


@dataclass(frozen=True)
class ShownClip:
    """A clip in the report: `frames` is its contact sheet, or one frame with the `flow` of that frame."""

    id: str
    label: str
    frames: Sequence[str]
    verdicts: Sequence[ClipPrediction]
    flow: str = ""


@dataclass(frozen=True)
class Report:
    """The contents of the page: `models` in the order of the table, `preferred` the name of one of them."""

    recipe: str
    simulated: str
    """What rendered clips show; empty for clips of a real plant."""
    classes: Sequence[str]
    absent: Sequence[str]
    split: Mapping[str, Any]
    """data/split.json."""
    models: Sequence[ModelResult]
    preferred: str | None
    interval: str
    """The unit of the resampling: `Resampling.label`."""
    conditional: bool
    test_groups: int
    test_clips: int
    differences: Rows
    """name, versus, delta, low, high."""
    prepare: Mapping[str, tuple[float, float]]
    """Model → time to prepare one raw clip for it in one thread: p50 and p95 in ms."""
    frames: int
    """Sampled frames of the clip that latency was measured on."""
    preparation: str = "decoding and optical flow"
    """The steps of that preparation, in words."""
    search: Rows = ()
    """plots/search.csv: the candidates of the search; empty where nothing was searched."""
    search_result: Mapping[str, Any] | None = None
    """data/search.json."""
    rates: Rows = ()
    """plots/rates.csv: one network pruned at several rates; empty where its rate was given."""
    validation: Mapping[str, Any] | None = None
    """reports/validation/summary.json."""
    explained: Sequence[ShownClip] = ()
    wrong: Sequence[ShownClip] = ()
    wrong_in_all: int = 0
    date: datetime = field(default_factory=datetime.now)

    @property
    def flat(self) -> dict[str, float]:
        """The scores of all models, as in metrics/evaluate.json."""
        return {f"{m.name}.{key}": value for m in self.models for key, value in m.scores.items()}

    def model(self, name: str | None) -> ModelResult | None:
        return next((m for m in self.models if m.name == name), None)
