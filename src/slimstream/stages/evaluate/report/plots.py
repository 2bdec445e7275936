"""Charts as inline SVG that takes colours and font from the page, so it works in light and in dark mode.

Matplotlib draws with placeholder colours; afterwards each is replaced by a CSS variable.
"""

import io
import re
from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

TITLES = {
    "baseline": "Frozen features",
    "original": "Original",
    "slim": "Slim",
    "pruned": "Pruned",
    "control": "Control",
    "distilled": "Distilled",
    "teacher": "Teacher",
}
"""Titles in the report of the models of `paths.MODELS`, and of teachers."""


EXPLANATIONS = {
    "baseline": "only its last layer learnt",
    "original": "not compressed",
    "slim": "chosen by the search",
    "pruned": "channels removed as far as that costs little (perhaps none), then fine-tuned",
    "control": "trained as Distilled, but without larger networks' answers (λ = 0)",
    "distilled": "learnt from larger networks' answers, too",
    "teacher": "for distillation only; not deployed",
}
"""What the models are, in a few words."""


def kind(name: str) -> str:
    """The key into TITLES and COLOURS of a model."""
    return name if name in TITLES else "teacher"


def title(name: str) -> str:
    """Title of the model `name`; that of a teacher includes the name that the recipe gives it."""
    return TITLES.get(name) or f"{TITLES['teacher']} {name.rpartition('/')[2]}"


def signed(x: float) -> str:
    """Three digits with a sign; what rounds to 0 has none."""
    return f"{x:+.3f}" if round(x, 3) else "0.000"


INK, MUTED, GRID, ACCENT = "#000001", "#000002", "#000003", "#000004"
COLOURS = {name: f"#00001{i}" for i, name in enumerate(TITLES)}
_CSS = {INK: "currentColor", MUTED: "var(--muted)", GRID: "var(--line)", ACCENT: "var(--accent)"} | {
    stand_in: f"var(--{name})" for name, stand_in in COLOURS.items()
}
_LOOK: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "slimstream",
    "font.size": 11,
    "text.color": INK,
    "axes.labelcolor": MUTED,
    "axes.edgecolor": GRID,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.titlelocation": "left",
    "axes.titlesize": 12,
    "axes.titleweight": "bold",
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "xtick.color": GRID,
    "ytick.color": GRID,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "lines.linewidth": 2,
    "lines.solid_capstyle": "round",
    "legend.frameon": False,
}


def size_quality(models: Sequence[Mapping[str, Any]], preferred: str | None) -> str:
    """Parameters against macro-F1; each model has name, params, macro_f1, macro_f1_low and macro_f1_high.

    That of the model `preferred` is a larger mark.
    """

    def draw(ax: "Axes") -> None:
        taken: dict[float, int] = {}
        for m in models:
            millions = float(f"{m['params'] / 1e6:.3g}")
            step = taken[millions] = taken.get(millions, -1) + 1
            x = millions * 1.045**step  # models of one size stand side by side
            ax.plot(
                [x, x], [m["macro_f1_low"], m["macro_f1_high"]], color=COLOURS[kind(m["name"])], alpha=0.55
            )
            size = 13 if m["name"] == preferred else 8
            ax.plot(x, m["macro_f1"], "o", color=COLOURS[kind(m["name"])], ms=size)
        ax.set_ylim(*scores_within([m[end] for m in models for end in ("macro_f1_low", "macro_f1_high")]))
        ax.set_xscale("log")
        ax.set_xlim(min(taken) * 0.75, max(taken) * 1.4)
        ax.set_xticks(list(taken), [f"{millions:.3g}" for millions in taken])
        ax.minorticks_off()
        ax.set_xlabel("parameters, million (log scale)")
        ax.set_ylabel("macro-F1")

    return svg(draw, (5.6, 3.6), "Parameters against macro-F1 with 95 % intervals, one point a model.")


def scores_within(scores: Sequence[float]) -> tuple[float, float]:
    """Limits of an axis that shows `scores` (0..1) with some space around them, but nothing beyond 0..1.

    A mark at 0 or 1 stays whole, since the limits lie a little outside.
    """
    space = max(0.14 * (max(scores) - min(scores)), 0.03)
    return max(min(scores) - space, -0.02), min(max(scores) + space, 1.02)


def differences(rows: Sequence[Mapping[str, Any]]) -> str:
    """Paired differences in macro-F1 around zero; each row has name, versus, delta, low and high."""

    def draw(ax: "Axes") -> None:
        ax.axvline(0, color=INK, lw=1)
        for y, row in enumerate(reversed(rows)):
            ax.plot([row["low"], row["high"]], [y, y], color=COLOURS[row["name"]], alpha=0.55, lw=3)
            ax.plot(row["delta"], y, "o", color=COLOURS[row["name"]], ms=9)
        names = [f"{title(r['name'])}\n− {title(r['versus'])}" for r in reversed(rows)]
        ax.set_yticks(range(len(rows)), names)
        ax.tick_params("y", labelcolor=INK, length=0)
        ax.set_ylim(-0.6, len(rows) - 0.4)
        ax.grid(False, axis="y")
        ends = [abs(row[end]) for row in rows for end in ("low", "high")]
        ax.set_xlim(*(sign * max(0.02, *ends) * 1.15 for sign in (-1, 1)))
        ax.set_xlabel("← worse\u2003difference in macro-F1\u2003better →")

    told = "; ".join(
        f"{title(r['name'])} minus {title(r['versus'])} {signed(r['delta'])} "
        f"({signed(r['low'])} to {signed(r['high'])})"
        for r in rows
    )
    return svg(draw, (5.6, 1.1 + 0.62 * len(rows)), f"Paired differences in macro-F1: {told}.")


def curves(name: str, table: "pd.DataFrame") -> str:
    """One training: loss of train and validation, macro-F1 and learning rate over the epochs.

    `table` has epoch, train_loss, val_loss, val_macro_f1 and lr, one row per epoch.
    """

    from matplotlib.ticker import MaxNLocator

    def draw(ax: "Axes", right: "Axes", rate: "Axes") -> None:
        ax.plot(table["epoch"], table["train_loss"], color=MUTED, ls=(0, (2, 1.6)), label="train")
        ax.plot(table["epoch"], table["val_loss"], color=COLOURS[kind(name)], label="validation")
        ax.set_title("loss")
        ax.set_ylim(bottom=0)
        ax.legend(loc="upper right", fontsize=9)
        right.plot(table["epoch"], table["val_macro_f1"], color=COLOURS[kind(name)])
        best = table.loc[[table["val_macro_f1"].idxmax()]]
        right.plot(best["epoch"], best["val_macro_f1"], "o", color=COLOURS[kind(name)], ms=6)
        right.set_title("validation macro-F1")
        right.set_ylim(0, 1.05)
        rate.plot(table["epoch"], table["lr"], color=COLOURS[kind(name)])
        rate.set_title("learning rate")
        rate.set_ylim(bottom=0)
        rate.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        for each in (ax, right, rate):
            each.set_xlabel("epoch")
            each.xaxis.set_major_locator(MaxNLocator(integer=True))

    best = float(table["val_macro_f1"].max())
    alt = f"Training of {title(name)} over {len(table)} epochs; best validation macro-F1 {best:.3f}."
    return svg(draw, (12, 2.5), alt, columns=3)


def reliability(name: str, bins: Sequence[Mapping[str, float]], before: Sequence[Mapping[str, float]]) -> str:
    """Confidence against accuracy, and thinner the same before calibration.

    Each bin has confidence, accuracy and clips.
    """

    def draw(ax: "Axes") -> None:
        ax.plot([0, 1], [0, 1], color=MUTED, lw=1, ls=(0, (4, 3)))
        for shown, look in ((before, {"alpha": 0.4, "lw": 1, "ms": 3}), (bins, {"ms": 5})):
            confidence, right = ([b[key] for b in shown] for key in ("confidence", "accuracy"))
            ax.plot(confidence, right, color=COLOURS[kind(name)], marker="o", **look)
        ax.set(xlim=(0, 1.03), ylim=(0, 1.03), xlabel="confidence", ylabel="accuracy", aspect="equal")
        ax.set_xticks([0, 0.5, 1])
        ax.set_yticks([0, 0.5, 1])

    told = ", ".join(f"{b['confidence']:.2f} → {b['accuracy']:.2f}" for b in bins)
    return svg(draw, (2.2, 2.2), f"{title(name)}: confidence → accuracy {told}.")


def svg(
    draw: Callable[..., None], inches: tuple[float, float], alt: str, columns: int = 1, role: str = "img"
) -> str:
    """The drawing of `draw(*axes)` as an <svg> element; `alt` is the text for screen readers.

    `role` is "group" where parts of it can be chosen.
    """
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(_LOOK):
        figure = Figure(figsize=inches, layout="constrained")
        figure.patch.set_visible(False)
        axes = figure.subplots(1, columns, squeeze=False)[0]
        for ax in axes:
            ax.patch.set_visible(False)
        draw(*axes)
        out = io.StringIO()
        figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
    drawn = out.getvalue()
    drawn = drawn[drawn.index("<svg") :].replace(
        "<svg ", f'<svg role="{role}" aria-label="{escape(alt)}" ', 1
    )
    drawn = re.sub(r"<metadata>.*?</metadata>", "", drawn, count=1, flags=re.S)
    for stand_in, colour in _CSS.items():
        drawn = drawn.replace(stand_in, colour)
    return drawn
