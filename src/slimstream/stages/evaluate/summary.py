"""The headline and one confusion matrix of the model to publish: what DVC shows of a run."""

import json
from collections.abc import Mapping

import pandas as pd

from slimstream.core.paths import Paths
from slimstream.stages.evaluate.headline import headline


def write_summary(flat: Mapping[str, float], model: str, paths: Paths) -> None:
    """Write metrics/summary.json and plots/confusion.csv of `model`, for DVC.

    Call it when data/predictions.parquet is written. `flat` is the content of metrics/evaluate.json.
    """
    for file in (paths.summary, paths.confusion):
        file.parent.mkdir(parents=True, exist_ok=True)
    paths.summary.write_text(json.dumps({"model": model, **headline(flat, model)}, indent=2) + "\n")
    table = pd.read_parquet(paths.predictions)
    seen = table.loc[table["model"] == model, ["label", "predicted"]].rename(columns={"label": "actual"})
    seen.to_csv(paths.confusion, index=False)
