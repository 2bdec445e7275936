"""The dozen numbers that runs are compared by, and one confusion matrix: what DVC shows of a run."""

import json
from collections.abc import Mapping

import pandas as pd

from slimstream.core.paths import Paths
from slimstream.stages.evaluate.model_rows import ORIGINAL

COLUMNS = {
    "macro_f1": "macro_f1",
    "macro_f1_low": "macro_f1_low",
    "macro_f1_high": "macro_f1_high",
    "accuracy": "accuracy",
    "file_to_answer_ms": "file_to_answer_p50_ms",
    "megabytes": "megabytes",
    "parameters": "params",
    "macs": "macs",
}
"""Name of a headline → the score of the model that it shows, as in metrics/evaluate.json."""


def headline(flat: Mapping[str, float], model: str) -> dict[str, float | str]:
    """The numbers of `model` that a person sorts runs by.

    Args:
        flat: the content of metrics/evaluate.json.
        model: the model that is to be published.

    Returns its name as `model`, COLUMNS, `original_macro_f1`, `saving` (share of the original's time from
    file to answer that it saves; below 0 it is slower) and `judged_clips`. What was not measured is left out.
    """
    row: dict[str, float | str] = {"model": model}
    row |= {name: flat[f"{model}.{key}"] for name, key in COLUMNS.items() if f"{model}.{key}" in flat}
    mine, whole = (flat.get(f"{name}.file_to_answer_p50_ms") for name in (model, ORIGINAL))
    if mine is not None and whole:
        row["saving"] = 1 - mine / whole
    if (score := flat.get(f"{ORIGINAL}.macro_f1")) is not None:
        row["original_macro_f1"] = score
    return row | {"judged_clips": flat["test.clips"]}


def write(flat: Mapping[str, float], model: str, paths: Paths) -> None:
    """Write metrics/summary.json and plots/confusion.csv of `model`, for DVC.

    Call it when data/predictions.parquet is written. `flat` and `model` are as in `headline`.
    """
    for file in (paths.summary, paths.confusion):
        file.parent.mkdir(parents=True, exist_ok=True)
    paths.summary.write_text(json.dumps(headline(flat, model), indent=2) + "\n")
    table = pd.read_parquet(paths.predictions)
    seen = table.loc[table["model"] == model, ["label", "predicted"]].rename(columns={"label": "actual"})
    seen.to_csv(paths.confusion, index=False)
