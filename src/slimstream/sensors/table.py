"""`python -m slimstream process`: read logs, evaluate all methods, write CSV files and print tables."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd

from slimstream.core.overwrite import check_overwrite
from slimstream.sensors.log import SensorLogs, read_logs
from slimstream.sensors.rows import Row, classifier_rows, detector_rows
from slimstream.sensors.settings import SensorRecipe
from slimstream.sensors.splits import WARNINGS, WindowSplit, make_splits
from slimstream.sensors.windows import Windows, cut_windows


def evaluate_logs(p: SensorRecipe, files: Sequence[Path], out: Path) -> str:
    """Evaluate all methods on the logs and return the tables as text.

    Writes `out` (one row per method and split) and `<out>-states.csv` (one row per method, split and state).
    Raises UserError for unusable logs, and when one of these files exists and was not written by this
    command.
    """
    states_out = out.with_name(f"{out.stem}-states{out.suffix}")
    for file in (out, states_out):
        check_overwrite(file, "task,method,")
    logs = read_logs(files, p)
    w = cut_windows(logs, p)
    found = make_splits(w, p)
    classified, by_state = classifier_rows(p, w, found)
    detected = detector_rows(p, w, found)
    out.parent.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(classified + detected).to_csv(out, index=False)
    pd.DataFrame(by_state).to_csv(states_out, index=False)
    parts = [
        f"{sum(len(log.label) for log in logs.logs)} rows of {len(logs.sensors)} sensors: {len(w.state)} "
        f"windows of {p.window:g} s with {w.features.shape[1]} features\n\n{w.counts().to_string()}",
        _classifier_table(classified),
        "recall of each state\n" + _state_table(by_state),
        _detector_table(detected) if detected else "",
        "\n".join(_notes(p, logs, w, found)),
        f"written to {out} and {states_out}",
    ]
    return "\n\n".join(part for part in parts if part)


def _classifier_table(rows: Sequence[Row]) -> str:
    table = pd.DataFrame(
        {
            "split": [f"{row['split']}{' (!)' if row['warning'] else ''}" for row in rows],
            "method": [row["method"] for row in rows],
            "macro-F1": [_interval(row, "macro_f1") for row in rows],
            "accuracy": [_interval(row, "accuracy") for row in rows],
            "macro precision": [_interval(row, "macro_precision") for row in rows],
            "macro recall": [_interval(row, "macro_recall") for row in rows],
            "tried": [row["configurations"] for row in rows],
            "seeds": [row["seeds"] for row in rows],
            "seconds": [f"{row['seconds']:.1f}" for row in rows],
        }
    )
    return "classifiers\n" + table.to_string(index=False)


def _state_table(rows: Sequence[Row]) -> str:
    table = pd.DataFrame(rows).assign(recall=[_interval(row, "recall") for row in rows])
    wide = table.pivot_table(
        index=["split", "method"], columns="state", values="recall", aggfunc="first", sort=False
    )
    return str(wide.fillna("-").to_string())


def _detector_table(rows: Sequence[Row]) -> str:
    """Shares of windows with and without a fault that raise an alarm, for each confidence level."""
    table = pd.DataFrame(
        {
            "split": [row["split"] for row in rows],
            "statistic": [row["statistic"] for row in rows],
            "limits": [row["limits"] for row in rows],
            "level": [row["level"] for row in rows],
            "detected": [_interval(row, "detection_rate") for row in rows],
            "false alarms": [_interval(row, "false_alarm_rate") for row in rows],
            "AUC": [_interval(row, "auc") for row in rows],
        }
    )
    return "detector: PCA model of the normal state\n" + table.to_string(index=False)


def _interval(row: Row, name: str) -> str:
    return f"{row[name]:.3f} ({row[f'{name}_low']:.3f}–{row[f'{name}_high']:.3f})"


def _notes(p: SensorRecipe, logs: SensorLogs, w: Windows, found: dict[str, WindowSplit]) -> Iterator[str]:
    """Yield notes on the reliability of the results."""
    yield "In brackets: 95 % intervals from resampling blocks (whole runs, where 8 or more were left out)."
    counts = w.counts()
    once = [str(state) for state in counts.index[counts["runs"] == 1]]
    if once:
        yield (
            f"Seen in one run only: {', '.join(once)}. Nothing here tells how a further run of "
            f"{'it' if len(once) == 1 else 'them'} would fare."
        )
    if "runs" in p.splits and "runs" not in found:
        yield "Split 'runs' is left out: it needs two states that were each seen in two runs or more."
    yield from (f"(!) {name}: {text}." for name, text in WARNINGS.items() if name in found)
    if logs.constant:
        yield f"Left out, because they never change: {', '.join(logs.constant)}."
    if logs.broken:
        yield f"Breaks in the log that no window reaches across: {logs.broken}."
    if w.short:
        yield f"Stretches too short for a window after the embargo, left out: {w.short}."
