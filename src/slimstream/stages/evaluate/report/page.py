"""The report: one self-contained HTML file, for the plant manager and for the engineer."""

import base64
import hashlib
from typing import TYPE_CHECKING, Any

from slimstream.runtimes import REFERENCE, RUNTIMES
from slimstream.stages.evaluate.model_rows import model_rows
from slimstream.stages.evaluate.report import front, plots
from slimstream.stages.evaluate.report.judged import unjudged
from slimstream.stages.evaluate.report.notes import notes
from slimstream.stages.evaluate.report.templates import FOLDER, templates
from slimstream.stages.evaluate.report.types import Report
from slimstream.stages.evaluate.verdict import compare_with_original

if TYPE_CHECKING:
    from slimstream.stages.evaluate.report.trade_off import Point


def render(report: Report) -> str:
    """The page as HTML (a str to be written as UTF-8)."""
    from markupsafe import Markup

    scored = [{"name": m.name, **m.scores} for m in report.models]
    rows = model_rows(report.flat)
    chosen = report.model(report.preferred)
    script = (FOLDER / "page.js").read_text()
    # What was pruned: the network that the search chose, or the original.
    whole = report.model("slim") or report.model("original") or report.models[0]
    lowest = min(m.scores["macro_f1_low"] for m in report.models)
    return (
        templates()
        .get_template("page.html")
        .render(
            r=report,
            reference=REFERENCE,
            runtimes=[name for name in RUNTIMES if any(m.in_form(name) for m in report.models)],
            original=report.model("original"),
            chosen=chosen,
            first=chosen or max(report.models, key=lambda m: m.scores["macro_f1"]),
            verdict=Markup(
                unjudged(chosen.title, compare_with_original(report.flat, chosen.name))
                if chosen
                else unjudged("", [])
            ),
            notes=notes(report),
            size_quality=Markup(plots.size_quality(scored, report.preferred)),
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
            reliability=[
                (m, Markup(plots.reliability(m.name, m.reliability, m.uncalibrated))) for m in report.models
            ],
            unknowing=[m for m in report.models if "unknown" in m.scores],
            floor=int(10 * max(0.0, lowest - 0.05)) / 10,
            slowest=max(report.prepare[m.name][0] + m.scores["latency_p50_ms"] for m in report.models),
        )
    )


def _chart(drawn: "tuple[str, Point] | None") -> "dict[str, Any] | None":
    """A chart for the template: `svg`, and `told` of the point that is chosen at first."""
    from markupsafe import Markup

    return drawn and {"svg": Markup(drawn[0]), "told": drawn[1].told}
