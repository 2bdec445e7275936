"""Charts of score against cost whose points tell what they are; page.js shows the text of the nearest one."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal

from slimstream.stages.evaluate.report.plots import ACCENT, INK, MUTED, scores_within, svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.text import Text
    from matplotlib.transforms import Bbox

LOG_FROM = 5.0
"""Ratio of the largest to the smallest cost above which the axis is logarithmic."""
CORNERS = [(7, 7), (-7, 7), (7, -7), (-7, -7), (0, 10), (0, -10), (9, 0), (-9, 0)]
CORNERS += [(7, 20), (-7, 20), (7, -20), (-7, -20), (0, 24), (0, -24)]
"""Places of a label beside its point that are tried in turn, in points right and up of it."""


@dataclass(frozen=True)
class Point:
    """One network: its cost `x`, its score `y`, and the interval of the score."""

    x: float
    y: float
    low: float
    high: float
    told: Sequence[str]
    """A title and facts, shown when the point is chosen with mouse, finger or keyboard."""
    label: str = ""
    """Written beside the point, if there is room."""
    colour: str = MUTED
    marker: str = "o"
    rank: Literal["chosen", "marked", "other"] = "other"
    """Of `other` points, drawn small, the interval appears only when they are pointed at."""


def trade_off(
    name: str,
    points: Sequence[Point],
    *,
    inches: tuple[float, float],
    x_label: str,
    y_label: str,
    alt: str,
    line: Sequence[tuple[float, float]] = (),
    steps: bool = True,
    limit: tuple[float, str] | None = None,
) -> str:
    """The chart as an <svg> element.

    Args:
        name: begins the ids of its points, so no two charts of a page may have the same.
        points: in any order; the keyboard goes through them from left to right.
        inches: width and height, at 72 units an inch.
        x_label: title of the axis of costs.
        y_label: title of the axis of scores.
        alt: text for screen readers.
        line: points (x, y) joined by a line, from left to right.
        steps: whether that line has steps, as a front has: nothing lies between its points.
        limit: a score, drawn as a dashed line, and its title.
    """
    points = sorted(points, key=lambda point: point.x)

    def draw(ax: "Axes") -> None:
        costs = [p.x for p in points]
        if min(costs) > 0 and max(costs) / min(costs) >= LOG_FROM:
            _logarithmic(ax)
        else:
            ax.set_xlim(0, 1.2 * max(costs))  # labels fit beside the slowest one
        path = _staircase(line) if steps else list(line)
        if line:
            ax.plot(*zip(*path, strict=True), color=ACCENT, lw=1.5)
        for i, p in enumerate(points):
            ax.plot([p.x, p.x], [p.low, p.high], color=p.colour, lw=2, gid=f"{name}-{i}-interval")
            size = {"chosen": 11, "marked": 7.5, "other": 5}[p.rank]
            alpha = 0.75 if p.rank == "other" else 1
            ax.plot(p.x, p.y, p.marker, color=p.colour, ms=size, mew=0, alpha=alpha, gid=f"{name}-{i}")
        ax.margins(x=0.06)
        # Intervals that appear when they are pointed at may reach beyond the frame.
        seen = [y for p in points for y in (p.y, *((p.low, p.high) if p.rank != "other" else ()))]
        ax.set_ylim(*scores_within(seen))
        spans = [[(p.x, p.low), (p.x, p.high)] for p in points if p.rank != "other"]
        obstacles = [*pairwise(path), *spans]
        title = None
        if limit:
            obstacles.append([(x, limit[0]) for x in (min(costs), max(costs))])
            ax.axhline(limit[0], color=MUTED, lw=1, ls=(0, (4, 3)))
            title = ax.annotate(
                limit[1],
                (1, limit[0]),
                (0, -3),
                xycoords=("axes fraction", "data"),
                textcoords="offset points",
                ha="right",
                va="top",
                color=MUTED,
                fontsize=9,
            )
        ax.set_xlabel(x_label)
        ax.set_ylabel(y_label)
        _label(ax, points, obstacles, title)

    drawn = svg(draw, inches, alt, role="group")
    for i, p in enumerate(points):
        drawn = drawn.replace(f'<g id="{name}-{i}-interval">', _opening_of_interval(name, i, p), 1)
        drawn = drawn.replace(f'<g id="{name}-{i}">', _opening_of_point(name, i, p), 1)
    return drawn


def _opening_of_interval(name: str, i: int, p: Point) -> str:
    return f'<g id="{name}-{i}-interval" class="interval {p.rank}">'


def _opening_of_point(name: str, i: int, p: Point) -> str:
    told = escape("; ".join(p.told))
    # Without scripts, as in some mail programs, the browser shows the title itself.
    title = f"<title>{told}</title>"
    facts = escape("\n".join(p.told))
    tag = f'g id="{name}-{i}" class="point {p.rank}" role="img" aria-label="{told}" data-told="{facts}"'
    return f"<{tag}>{title}"


def _logarithmic(ax: "Axes") -> None:
    from matplotlib.ticker import LogLocator, NullLocator

    ax.set_xscale("log")
    ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter(lambda value, _: f"{value:g}")


def _staircase(line: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """A corner between each two points: what is reached at a cost is what the cheaper one reaches."""
    return [
        corner for i, (x, y) in enumerate(line) for corner in ([(x, line[i - 1][1])] if i else []) + [(x, y)]
    ]


def _label(
    ax: "Axes", points: Sequence[Point], lines: Iterable[Sequence[tuple[float, float]]], title: "Text | None"
) -> None:
    """Write labels where they overlap nothing, the chosen one's first; leave out those without a place.

    A label is nearer to its own point than to any other that has one. That of the chosen point is always
    written: where there is no such place, it may cross lines and stand nearer to another point.
    `lines`: pairs of points, joined by a line; `title`: a text that is there already.
    """
    from matplotlib.path import Path
    from matplotlib.transforms import Bbox

    figure: Any = ax.figure
    figure.draw_without_rendering()  # now it is known where everything lies
    pixel = figure.dpi / 72
    inside = ax.get_window_extent().padded(2 * pixel)
    taken = [] if title is None else [title.get_window_extent()]
    crossed = [Path(ax.transData.transform(line)) for line in lines]
    centres: list[tuple[float, float]] = [tuple(ax.transData.transform((p.x, p.y))) for p in points]
    for p, (x, y) in zip(points, centres, strict=True):
        half = (6 if p.rank == "chosen" else 4 if p.rank == "marked" else 2) * pixel
        taken.append(Bbox([[x - half, y - half], [x + half, y + half]]))
    ranks = ("chosen", "marked", "other")
    labelled = [centre for p, centre in zip(points, centres, strict=True) if p.label]
    for p in sorted(points, key=lambda point: ranks.index(point.rank)):
        if not p.label:
            continue
        x, y = ax.transData.transform((p.x, p.y))
        strict = [(*corner, True) for corner in CORNERS]
        for right, up, alone in [*strict, *((*c, False) for c in CORNERS if p.rank == "chosen")]:
            text = ax.annotate(
                p.label,
                (p.x, p.y),
                (right, up),
                textcoords="offset points",
                ha="left" if right > 0 else "right" if right < 0 else "center",
                va="bottom" if up > 0 else "top" if up < 0 else "center",
                color=INK,
                fontsize=9,
                fontweight="bold" if p.rank == "chosen" else "normal",
                linespacing=1.1,
            )
            text.set_in_layout(False)
            box = text.get_window_extent()
            within = (
                inside.x0 <= box.x0 and box.x1 <= inside.x1 and inside.y0 <= box.y0 and box.y1 <= inside.y1
            )
            own = _distance(box, (x, y))
            nearest = all(own <= _distance(box, centre) + 1 for centre in labelled)
            free = nearest and not any(path.intersects_bbox(box) for path in crossed)
            if within and not any(box.overlaps(other) for other in taken) and (free or not alone):
                taken.append(box)
                break
            text.remove()


def _distance(box: "Bbox", point: tuple[float, float]) -> float:
    """From the edge of `box` to `point`; 0 inside."""
    x, y = point
    return math.hypot(max(box.x0 - x, 0, x - box.x1), max(box.y0 - y, 0, y - box.y1))
