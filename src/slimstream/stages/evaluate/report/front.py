"""Scores over costs: candidates of the search, models on the test clips, rates of pruning."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from slimstream.stages.evaluate.model_rows import ModelRow
from slimstream.stages.evaluate.report.plots import ACCENT, COLOURS, EXPLANATIONS, MUTED, kind, signed, title
from slimstream.stages.evaluate.report.trade_off import Point, trade_off

Row = Mapping[str, Any]
AXES = ("streams", "frames", "size", "depth", "grid", "backbone")
SHAPES = {"rgb": ("o", "●", "RGB"), "flow": ("s", "■", "flow"), "both": ("^", "▲", "both streams")}
"""Stream → mark of its points: for matplotlib, as text, and what it stands for."""
TIME = "from file to answer, ms"


def read_table(path: Path) -> list[dict[str, Any]]:
    """The rows of a CSV file, None for an empty cell; empty without the file, as in folds."""
    import pandas as pd

    if not path.exists():
        return []
    return [
        {str(key): None if pd.isna(value) else value for key, value in row.items()}
        for row in pd.read_csv(path).to_dict("records")
    ]


def read_json(path: Path) -> dict[str, Any] | None:
    """The object in the JSON file `path`; None without the file."""
    return json.loads(path.read_text()) if path.exists() else None


def search_front(
    rows: Sequence[Row], margin: float | None, inches: tuple[float, float] = (6.8, 4.3)
) -> tuple[str, Point]:
    """Chart of all candidates of plots/search.csv, and the point of the chosen one.

    `margin`: what the chosen one may lose against the best, in macro-F1.
    """
    # One that was left behind was judged after fewer epochs; it is no loss to the best.
    best = max(row["macro_f1"] for row in rows if row["loss"] is not None)
    points = [_candidate(row, rows, best) for row in rows]
    front = sorted((row["file_to_answer_ms"], row["macro_f1"]) for row in rows if row["on_front"])
    chosen = next(point for point in points if point.rank == "chosen")
    drawn = trade_off(
        "search",
        points,
        inches=inches,
        x_label=TIME,
        y_label="macro-F1 on clips not learnt from",
        alt=f"{len(rows)} candidates of the search, time from file to answer against macro-F1; "
        f"chosen: {'; '.join(chosen.told)}.",
        line=front,
        limit=None if margin is None else (best - margin, f"the best less {margin:g}"),
    )
    return drawn, chosen


def _candidate(row: Row, rows: Sequence[Row], best: float) -> Point:
    depth = f", {row['backbone']} to stage {int(row['depth'])}" if row["depth"] is not None else ""
    if (grid := row.get("grid") or 1) > 1:
        depth += f", averaged over {grid:g} × {grid:g} cells"
    depth = depth or (f", {row['model']}" if row.get("model") else "")
    loss = row["loss"]
    height, width = str(row["size"]).split("x")
    what = {"rgb": "RGB frames", "flow": "flow fields", "both": "RGB frames with flow"}[row["streams"]]
    ranks = [
        *(["chosen"] if row["chosen"] else []),
        *(["the best"] if loss == 0 else []),
        *(["left behind, judged after fewer epochs"] if loss is None else []),
        *(["on the front"] if row["on_front"] else []),
    ]
    told = [
        f"{row['frames']} {what} of {width} × {height} pixels{depth}",
        ", ".join(ranks),
        f"macro-F1 {row['macro_f1']:.3f}",
        _below(row) if loss else "",
        f"{row['file_to_answer_ms']:.1f} ± {row['spread_ms']:.1f} ms from file to answer: decoding "
        f"{row['decode_ms']:.1f}, flow {row['flow_ms']:.1f}, network {row['network_ms']:.1f}",
        f"{row['megabytes']:.1f} MB",
    ]
    return Point(
        row["file_to_answer_ms"],
        row["macro_f1"],
        row["macro_f1"] if loss is None else best - row["high"],
        row["macro_f1"] if loss is None else best - row["low"],
        [fact for fact in told if fact],
        _short(row, rows) if row["on_front"] or row["chosen"] or loss == 0 else "",
        COLOURS["slim"] if row["chosen"] else ACCENT if row["on_front"] else MUTED,
        SHAPES[row["streams"]][0],
        "chosen" if row["chosen"] else "marked" if row["on_front"] else "other",
    )


def _below(row: Row) -> str:
    return f"{row['loss']:.3f} below the best (90 % interval {signed(row['low'])} to {signed(row['high'])})"


def _short(row: Row, rows: Sequence[Row]) -> str:
    """What tells a candidate from the others, as "rgb 4 × 96 px"; what is the same in all is left out."""
    varies = {axis for axis in AXES if len({str(other.get(axis)) for other in rows}) > 1}
    height, width = str(row["size"]).split("x")
    size = f"{height} px" if height == width else f"{width}×{height} px"
    frames = "all" if row["frames"] == "all" else str(row["frames"])
    seen = {
        frozenset({"frames", "size"}): f"{frames} × {size}",
        frozenset({"frames"}): f"{frames} frame{'' if frames == '1' else 's'}",
        frozenset({"size"}): size,
    }.get(frozenset(varies & {"frames", "size"}), "")
    first = " ".join(filter(None, [row["streams"] if "streams" in varies else "", seen]))
    second = ", ".join(
        [
            *([f"depth {int(row['depth'])}"] if "depth" in varies and row["depth"] is not None else []),
            *([f"grid {int(row['grid'])}"] if "grid" in varies and row.get("grid") else []),
            *([str(row["backbone"])] if "backbone" in varies and row["backbone"] is not None else []),
        ]
    )
    return "\n".join(filter(None, [first, second]))


def shapes(rows: Sequence[Row]) -> list[tuple[str, str]]:
    """Legend of the points of `search_front`: mark and meaning of the streams that occur."""
    return [SHAPES[name][1:] for name in SHAPES if name in {row["streams"] for row in rows}]


def models_front(rows: Sequence[ModelRow], preferred: str | None) -> tuple[str, Point] | None:
    """Chart of all models on the test clips, and the point of the preferred one; None without times."""
    points = []
    for row in rows:
        s = row.scores
        if "file_to_answer_p50_ms" not in s:
            continue
        told = [
            title(row.name),
            EXPLANATIONS[kind(row.name)],
            f"macro-F1 {s['macro_f1']:.3f} (95 % interval {s['macro_f1_low']:.3f} to "
            f"{s['macro_f1_high']:.3f})",
            *(f"{cost.title}: {cost}" for cost in row.costs),
            f"preparing a file takes {s['prepare_p50_ms']:.1f} ms",
        ]
        points.append(
            Point(
                s["file_to_answer_p50_ms"],
                s["macro_f1"],
                s["macro_f1_low"],
                s["macro_f1_high"],
                told,
                title(row.name),
                COLOURS[kind(row.name)],
                "D",
                "chosen" if row.name == preferred else "marked",
            )
        )
    if not points:
        return None
    shown = next((point for point in points if point.rank == "chosen"), points[0])
    drawn = trade_off(
        "models",
        points,
        inches=(4.6, 4.3),
        x_label=TIME,
        y_label="macro-F1 on test clips",
        alt="Models on the test clips, time from file to answer against macro-F1 with 95 % intervals: "
        f"{', '.join(f'{point.label} {point.x:.1f} ms {point.y:.3f}' for point in points)}.",
    )
    return drawn, shown


def rates_front(rows: Sequence[Row], whole: str) -> tuple[str, Point]:
    """Chart of plots/rates.csv: the model `whole` pruned at several rates; 0 is the model itself.

    Its cost is the time of the network, or multiply-accumulates where no time was measured.
    """
    best = max(row["macro_f1"] for row in rows)
    timed = all((row.get("latency_p50_ms") or 0) > 0 for row in rows)  # NaN is not
    points = []
    for row in rows:
        told = [
            f"rate {row['rate']:g}" if row["rate"] else f"{title(whole)}, not pruned",
            *(["chosen"] if row["chosen"] else []),
            f"macro-F1 {row['macro_f1']:.3f}",
            *([_below(row)] if row["loss"] else ["the best"]),
            f"{100 * row['removed']:.0f} % of the channels removed, {row['params'] / 1e6:.2f} M parameters, "
            f"{row['macs'] / 1e9:.2f} G multiply-accumulates",
            *([f"{row['latency_p50_ms']:.1f} ms for the network"] if timed else []),
        ]
        points.append(
            Point(
                row["latency_p50_ms"] if timed else row["macs"] / 1e9,
                row["macro_f1"],
                best - row["high"],
                best - row["low"],
                told,
                f"{row['rate']:g}" if row["rate"] else title(whole),
                COLOURS["pruned" if row["rate"] else kind(whole)],
                rank="chosen" if row["chosen"] else "marked",
            )
        )
    drawn = trade_off(
        "rates",
        points,
        inches=(5.6, 3.6),
        x_label="time of the network, ms" if timed else "multiply-accumulates, 10⁹",
        y_label="macro-F1 on clips not learnt from",
        alt=f"Pruning rates, cost against macro-F1: {', '.join(f'{p.label} {p.y:.3f}' for p in points)}.",
        line=sorted((point.x, point.y) for point in points),
        steps=False,
    )
    return drawn, next((point for point in points if point.rank == "chosen"), points[0])
