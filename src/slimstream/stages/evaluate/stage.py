"""evaluate: scores and latency of every model in its deployed form on the same test clips; the report."""

import json
from collections.abc import Mapping

import pandas as pd

from slimstream.core.errors import UserError
from slimstream.core.paths import Paths
from slimstream.core.progress import Log
from slimstream.core.simulated import SIMULATED
from slimstream.runtimes.split_part import SplitPart
from slimstream.stages.evaluate.deployed import Prediction, predict
from slimstream.stages.evaluate.foreign import foreign_files, share_unknown
from slimstream.stages.evaluate.model_rows import ORIGINAL
from slimstream.stages.evaluate.params import EvaluateParams
from slimstream.stages.evaluate.report import contents, examples, page
from slimstream.stages.evaluate.report.front import read_json, read_table
from slimstream.stages.evaluate.report.types import Report
from slimstream.stages.evaluate.scores import compare, score
from slimstream.stages.evaluate.summary import write_summary
from slimstream.stages.evaluate.times import ratio_intervals, time_models
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
    elsewhere = foreign_files(evaluate.foreign, paths)
    results = [predict(name, paths, test) for name in paths.final_models()]
    if not results:
        raise UserError(f"{paths.final} holds no model to evaluate; run the stages train and refit first.")
    example = test.median_clip()
    draws = draw_resamples(
        test.rows["group"].tolist(), test.rows["twin"].tolist(), evaluate.resamples, evaluate.seed
    )
    clips = pd.read_parquet(paths.clips).set_index("id").loc[test.rows["id"]]
    files = [paths.ingested / path for path in clips["path"]]
    times = time_models(results, files, evaluate.latency_runs, paths)
    whole_input = next((r for r in results if r.name == ORIGINAL), results[0])
    prepare = times[whole_input.name].prepare

    scores = {r.name: score(r, test, draws, times[r.name]) for r in results}
    if whole := times.get(ORIGINAL):
        for name in scores.keys() - {ORIGINAL}:
            scores[name] |= ratio_intervals(times[name], whole, evaluate.seed)
    differences = list(compare(results, test, draws))
    for d in differences:
        key = "delta_macro_f1" if d["versus"] == ORIGINAL else f"delta_{d['versus']}_macro_f1"
        scores[d["name"]] |= {key: d["delta"], **{f"{key}_{end}": d[end] for end in ("low", "high")}}
    preferred = metrics.preferred_model(with_names(scores), publish__models)
    main = next((r for r in results if r.name == preferred), results[0])
    scores[main.name] |= share_unknown(main, elsewhere)
    flat = with_names(scores)
    flat |= {"test.clips": len(test.rows), "test.groups": draws.groups}
    flat |= {"prepare.p50_ms": prepare.p50, "prepare.p95_ms": prepare.p95}
    save_predictions(paths, classes, test, results)
    write_summary(flat, main.name, paths)
    aspects = (clips["width"] / clips["height"]).tolist()
    shown = [r for r in results if r.name in (ORIGINAL, preferred)] or results[:1]
    mistakes = examples.misclassified(test.truth, [r.test for r in shown])
    report = Report(
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
        prepare={name: (t.prepare.p50 / t.clips, t.prepare.p95 / t.clips) for name, t in times.items()},
        preparation="decoding and optical flow" if whole_input.card.network_input.sees_flow else "decoding",
        search=read_table(paths.curves("search")),
        search_result=read_json(paths.search),
        rates=read_table(paths.curves("rates")),
        validation=read_json(paths.validation / "summary.json"),
        explained=list(contents.explain_clips(results, shown, test, classes, aspects, evaluate.gradcam)),
        wrong=[contents.clip_sheet(i, shown, test, classes, aspects) for i in mistakes[:SHEETS]],
        wrong_in_all=len(mistakes),
    )
    html = page.render(report)
    for file in (paths.report_page, paths.report):  # DVC keeps the first; publish completes the second
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(html, encoding="utf-8")
    return flat


def with_names(scores: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """The scores of all models as "<model>.<score>"."""
    return {f"{name}.{key}": value for name, row in scores.items() for key, value in row.items()}


def preflight(evaluate: EvaluateParams, paths: Paths) -> None:
    """Raise UserError when `evaluate.foreign` names no folder of clips."""
    foreign_files(evaluate.foreign, paths)


def save_predictions(paths: Paths, classes: list[str], test: SplitPart, results: list[Prediction]) -> None:
    """Write data/predictions.parquet."""
    frames = []
    for r in results:
        frame = test.rows[["id", "clip", "video", "label"]].assign(model=r.name)
        frame["predicted"] = [classes[i] for i in r.predicted]
        for i, label in enumerate(classes):
            frame[f"p_{label}"] = r.test[:, i]
        frame["unlikeness"] = r.unlikeness
        frames.append(frame)
    first = ["model", "id", "clip", "video", "label", "predicted"]
    table = pd.concat(frames, ignore_index=True)
    table[first + [c for c in table if c not in first]].to_parquet(paths.predictions)
