"""evaluate: scores and latency of every model in its deployed form on the same test clips; the report."""

import json
from functools import partial
from pathlib import Path

import pandas as pd

from slimstream.core.errors import UserError
from slimstream.core.paths import MODELS, Paths
from slimstream.core.progress import Log
from slimstream.core.simulated import SIMULATED
from slimstream.models.latency import latencies
from slimstream.runtimes.split_part import SplitPart
from slimstream.stages.evaluate.deployed import Prediction, predict, time_preparations
from slimstream.stages.evaluate.params import EvaluateParams
from slimstream.stages.evaluate.report import contents, examples, page
from slimstream.stages.evaluate.report.front import read_json, read_table
from slimstream.stages.evaluate.scores import compare, score
from slimstream.training.metrics import classification as metrics
from slimstream.training.metrics.intervals import draw_resamples

SHEETS = 18
"""Wrong clips shown; more would make the page heavy."""


def run(
    evaluate: EvaluateParams,
    recipe: str,
    ingest__source: str,
    publish__models: list[str],
    paths: Paths,
    log: Log,
) -> dict[str, float]:
    """Write the report and the predictions; returns scores and latencies as "<model>.<metric>".

    Also returns paired differences with their intervals, numbers of test clips and groups, and the time of
    preparation in ms. Raises UserError when there are no test clips or no models.
    """
    info = json.loads(paths.split_info.read_text())
    classes, split = info["classes"], pd.read_parquet(paths.split)
    test = SplitPart.of(split, "test", classes, paths)
    if test.rows.empty:
        raise UserError(f"{paths.split} has no test clips; set split.test to a larger share.")
    results = [predict(name, paths, test) for name in paths.final_models()]
    if not results:
        raise UserError(f"{paths.final} holds no model to evaluate; run the stages train and refit first.")
    example = test.median_clip()
    draws = draw_resamples(
        test.rows["group"].tolist(), test.rows["twin"].tolist(), evaluate.resamples, evaluate.seed
    )
    clips = pd.read_parquet(paths.clips).set_index("id").loc[test.rows["id"]]
    speed = latencies({r.name: partial(r.deployed, r.example) for r in results}, evaluate.latency_runs)
    files = [paths.ingested / path for path in clips["path"]]
    prepared = time_preparations(files, [r.card.network_input for r in results])
    input, prepare = results[0].card.network_input, prepared[0]
    save_predictions(paths, classes, test, results)

    scores = {r.name: score(r, test, draws, speed[r.name], p) for r, p in zip(results, prepared, strict=True)}
    differences = list(compare(results, test, draws))
    flat = {f"{name}.{key}": value for name, row in scores.items() for key, value in row.items()}
    for d in differences:
        key = "delta_macro_f1" if d["versus"] == "original" else f"delta_{d['versus']}_macro_f1"
        flat |= {f"{d['name']}.{key}": d["delta"]}
        flat |= {f"{d['name']}.{key}_{end}": d[end] for end in ("low", "high")}
    flat |= {"test.clips": len(test.rows), "test.groups": draws.groups}
    flat |= {"prepare.p50_ms": prepare.p50, "prepare.p95_ms": prepare.p95}

    preferred = metrics.preferred_model(flat, publish__models)
    aspects = (clips["width"] / clips["height"]).tolist()
    shown = [r for r in results if r.name in ("original", preferred)] or results[:1]
    mistakes = examples.misclassified(test.truth, [r.test for r in shown])
    report = page.Report(
        recipe=recipe,
        simulated=SIMULATED.get(ingest__source, ""),
        classes=classes,
        absent=metrics.absent_classes(test.truth, classes),
        split=info,
        models=[contents.model_result(r, scores[r.name], test, classes, paths) for r in results],
        preferred=preferred,
        interval=draws.label,
        conditional=draws.conditional,
        test_groups=draws.groups,
        test_clips=len(test.rows),
        differences=differences,
        frames=example.shape[1],
        prepare={
            r.name: (p.p50 / r.card.network_input.clips, p.p95 / r.card.network_input.clips)
            for r, p in zip(results, prepared, strict=True)
        },
        preparation="decoding and optical flow" if input.sees_flow else "decoding",
        search=read_table(paths.curves("search")),
        search_result=read_json(paths.search),
        rates=read_table(paths.curves("rates")),
        validation=read_json(paths.validation / "summary.json"),
        explained=list(contents.explain_clips(results, shown, test, classes, aspects)),
        wrong=[contents.clip_sheet(i, shown, test, classes, aspects) for i in mistakes[:SHEETS]],
        wrong_in_all=len(mistakes),
    )
    paths.report.parent.mkdir(parents=True, exist_ok=True)
    paths.report.write_text(page.render(report), encoding="utf-8")
    return flat


def save_predictions(paths: Paths, classes: list[str], test: SplitPart, results: list[Prediction]) -> None:
    """Write data/predictions.parquet and, for `dvc plots`, a table of actual and predicted labels."""
    frames = []
    for name in MODELS:  # DVC wants the plots of all, also where there is no slim model
        pd.DataFrame(columns=["actual", "predicted"]).to_csv(_confusions(paths, name), index=False)
    for r in results:
        frame = test.rows[["id", "clip", "video", "label"]].assign(model=r.name)
        frame["predicted"] = [classes[i] for i in r.predicted]
        for i, label in enumerate(classes):
            frame[f"p_{label}"] = r.test[:, i]
        frames.append(frame)
        if r.name in MODELS:  # DVC knows the plots of these; a teacher's matrix is in the report
            seen = frame[["label", "predicted"]].rename(columns={"label": "actual"})
            seen.to_csv(_confusions(paths, r.name), index=False)
    first = ["model", "id", "clip", "video", "label", "predicted"]
    table = pd.concat(frames, ignore_index=True)
    table[first + [c for c in table if c not in first]].to_parquet(paths.predictions)


def _confusions(paths: Paths, name: str) -> Path:
    file = paths.curves(f"confusion_{name}")
    file.parent.mkdir(parents=True, exist_ok=True)
    return file
