"""The report: one self-contained HTML file, for the plant manager and for the engineer.

The template escapes every string except the SVG that this package draws.
"""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slimstream.runtimes import REFERENCE, RUNTIMES
from slimstream.runtimes.base import Form
from slimstream.stages.evaluate.model_rows import model_rows
from slimstream.stages.evaluate.report import front, plots

if TYPE_CHECKING:
    import pandas as pd
    from markupsafe import Markup

    from slimstream.stages.evaluate.report.trade_off import Point

Rows = Sequence[Mapping[str, Any]]


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
    curve: "pd.DataFrame | None"
    form: Form
    """The form that is deployed."""
    forms: Sequence[Form]
    """All forms that it was exported in."""

    @property
    def title(self) -> str:
        return plots.title(self.name)

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

    def model(self, name: str | None) -> ModelResult | None:
        return next((m for m in self.models if m.name == name), None)


def render(report: Report) -> str:
    """The page as HTML (a str to be written as UTF-8)."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    folder = Path(__file__).parent
    environment = Environment(
        loader=FileSystemLoader(folder),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"percent": _percent, "si": _si, "ms": _ms, "soft": _breakable}
    environment.filters["runtime"] = lambda name: RUNTIMES[name].title
    scored = [{"name": m.name, **m.scores} for m in report.models]
    rows = model_rows({f"{m.name}.{key}": value for m in report.models for key, value in m.scores.items()})
    script = (folder / "page.js").read_text()
    # What was pruned: the network that the search chose, or the original.
    whole = report.model("slim") or report.model("original") or report.models[0]
    lowest = min(m.scores["macro_f1_low"] for m in report.models)
    return environment.get_template("page.html").render(
        r=report,
        reference=REFERENCE,
        runtimes=[name for name in RUNTIMES if any(m.in_form(name) for m in report.models)],
        original=report.model("original"),
        chosen=report.model(report.preferred),
        verdict=headline(report),
        notes=notes(report),
        size_quality=Markup(plots.size_quality(scored)),
        differences=Markup(plots.differences(report.differences)) if report.differences else None,
        search=_chart(front.search_front(report.search, (report.search_result or {}).get("margin")))
        if report.search
        else None,
        search_shapes=front.shapes(report.search),
        measured=_chart(front.models_front(rows, report.preferred)),
        rates=_chart(front.rates_front(report.rates, whole.name)) if report.rates else None,
        costs={row.name: row.costs for row in rows},
        script=Markup(script),
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        uncompressed=whole,
        curves=[(m, Markup(plots.curves(m.name, m.curve))) for m in report.models if m.curve is not None],
        reliability=[(m, Markup(plots.reliability(m.name, m.reliability))) for m in report.models],
        floor=int(10 * max(0.0, lowest - 0.05)) / 10,
        slowest=max(report.prepare[m.name][0] + m.scores["latency_p50_ms"] for m in report.models),
    )


def headline(report: Report) -> str:
    """The result in one or two plain sentences."""
    small, large = report.model(report.preferred), report.model("original")
    where = (
        "On simulated clips" if report.simulated else f"On {report.test_clips} clips never used for training"
    )
    if small is None or large is None:
        best = max(report.models, key=lambda m: m.scores["macro_f1"])
        return f"{where}, the best model is “{best.title}” with a macro-F1 of {best.scores['macro_f1']:.2f}."
    size = small.scores["params"] / large.scores["params"]
    difference = next(
        (d for d in report.differences if (d["name"], d["versus"]) == (small.name, large.name)), None
    )
    scores = f"macro-F1 {small.scores['macro_f1']:.2f} against {large.scores['macro_f1']:.2f}"
    if difference is None:
        judgement = f"reaches {scores}"
    elif difference["high"] < 0:
        judgement = f"is measurably worse than the original: {scores}"
    elif difference["low"] > 0:
        judgement = f"is measurably better than the original: {scores}"
    elif difference["delta"] == difference["low"] == difference["high"] == 0:
        judgement = f"predicts these clips as well as the original: {scores}"
    else:
        judgement = (
            f"shows no measurable loss against the original ({scores}; "
            f"a true loss of up to {abs(difference['low']):.2f} is not excluded)"
        )
    speed = large.scores["file_to_answer_p50_ms"] / small.scores["file_to_answer_p50_ms"]
    pace = (
        f"{speed:.1f} times as fast"
        if speed >= 1.05
        else "no faster"
        if speed > 0.95
        else f"{1 / speed:.1f} times slower"
    )
    return (
        f"{where}, the compressed model {judgement}, with {100 * size:.0f} % of the parameters and {pace} "
        "from file to answer."
    )


def _chart(drawn: "tuple[str, Point] | None") -> "dict[str, Any] | None":
    """A chart for the template: `svg`, and `told` of the point that is chosen at first."""
    from markupsafe import Markup

    return drawn and {"svg": Markup(drawn[0]), "told": drawn[1].told}


def notes(report: Report) -> list[str]:
    """Limits of the data and of the scores, one paragraph each."""
    told = []
    if report.simulated:
        told.append(
            f"All clips are simulated: rendered pictures of {report.simulated}. The numbers show that "
            "the pipeline works; they say nothing about a real plant."
        )
    if report.conditional:
        groups = "one group" if report.test_groups == 1 else f"{report.test_groups} groups"
        told.append(
            f"The test part holds {groups} only (a group: clips that must stay together, such as those "
            "of one camera). The intervals tell how far the scores may be off for further clips of "
            "these groups; they cannot tell how well the models will do on a new one."
        )
    if without := report.split.get("without"):
        told.append(
            f"The clips have no column {' or '.join(without)}: groups are near-twin sets, so clips of one "
            f"{without[0]} may lie in train and in test, and the scores may be flattered."
        )
    if leaking := report.split.get("leaks", {}).get("test"):
        told.append(
            f"{len(leaking)} test clips have a near twin among training or validation clips: the split came "
            f"with the data (column {report.split['given']}), and the scores are flattered."
        )
    if report.absent:
        told.append(
            f"No test clip of {', '.join(report.absent)}: macro means run over the remaining classes, "
            "and nothing is known about these."
        )
    flawless = [m.title for m in report.models if m.scores["accuracy"] == 1]
    if flawless:
        # Hanley & Lippman-Hand 1983: no event among n still allows a rate of 3/n at 95 %.
        told.append(
            f"No error in {report.test_clips} clips ({', '.join(flawless)}): resampling then gives an "
            "interval without width, which promises too much. Even if all clips were independent, up to "
            f"{100 * min(1, 3 / report.test_clips):.0f} % errors would be compatible with it (rule of three)."
        )
    plain, small = report.model("baseline"), report.model(report.preferred)
    if plain and small and plain.scores["macro_f1"] > small.scores["macro_f1"]:
        told.append(
            f"“{plain.title}”, which learns nothing but its last layer, has a macro-F1 of "
            f"{plain.scores['macro_f1']:.2f} here, more than the {small.scores['macro_f1']:.2f} of the "
            "compressed model: on these clips training a network has not paid off in quality."
        )
    shortcuts = [s["cue"] for s in (report.validation or {}).get("shortcuts", []) if s["flagged"]]
    if shortcuts:
        told.append(
            f"Cues that no model should use predict the class in these clips: {', '.join(shortcuts)}. "
            "A score may be flattered by them; see Data and validation."
        )
    return told


def _percent(x: float | None) -> str:
    return "–" if x is None else f"{100 * x:.1f}"


def _si(x: float) -> str:
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if x >= size:
            return f"{x / size:.2f} {unit}"
    return f"{x:.0f}"


def _breakable(name: str) -> "Markup":
    """A name that may break after an underscore."""
    from markupsafe import Markup, escape

    return Markup("_<wbr>").join(escape(part) for part in name.split("_"))


def _ms(x: float) -> str:
    return f"{x:.0f}" if x >= 20 else f"{x:.1f}"
