"""evaluate: scores and latency of every model in its deployed form on the same test clips; the report."""

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from torch import nn

from slimstream.clips.packs import pack_clip
from slimstream.clips.params import NetworkInput
from slimstream.core.errors import UserError
from slimstream.core.parallel import cores
from slimstream.core.paths import MODELS, Paths
from slimstream.core.progress import Log
from slimstream.models import create_model
from slimstream.models.checkpoint import Card, load_model
from slimstream.models.latency import Latency, latencies, percentiles, time_calls
from slimstream.runtimes import open_network
from slimstream.runtimes.base import Form, Network, read_forms, warm_up
from slimstream.runtimes.split_part import Floats, SplitPart, spread_indices
from slimstream.stages.evaluate.params import EvaluateParams
from slimstream.stages.evaluate.report import examples, page
from slimstream.stages.evaluate.report.gradcam import has_streams, is_for_pictures
from slimstream.stages.evaluate.report.plots import title
from slimstream.training.metrics import classification as metrics
from slimstream.training.metrics.intervals import (
    Resampling,
    draw_resamples,
    percentile_interval,
    resampled_confusions,
    with_interval,
)

PREPARED_CLIPS = 5
"""Number of raw clips whose preparation (decoding and flow) is timed."""
SHEETS = 18
"""Wrong clips shown; more would make the page heavy."""

RESAMPLED_METRICS = {"accuracy": metrics.accuracy, "macro_f1": metrics.macro_f1}
"""Scores that are shown with an interval."""
COMPARISONS = [
    ("slim", "original"),
    ("pruned", "original"),
    ("control", "original"),
    ("distilled", "original"),
    ("distilled", "control"),
]


@dataclass(frozen=True)
class Prediction:
    """One model: probabilities (N, n) of its deployed form on the test clips."""

    name: str
    model: nn.Module
    card: Card
    test: Floats
    deployed: Network
    form: Form
    forms: list[Form]
    """All forms that it was exported in."""
    example: npt.NDArray[np.uint8]
    """The clip of median length as the network sees it, (1, T, C, H, W)."""

    @cached_property
    def predicted(self) -> npt.NDArray[np.int64]:
        return self.test.argmax(1)


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
        simulated=ingest__source == "rig",
        classes=classes,
        absent=metrics.absent_classes(test.truth, classes),
        split=info,
        models=[model_result(r, scores[r.name], test, classes, paths) for r in results],
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
        validation=read_json(paths.validation / "summary.json"),
        explained=list(explain_clips(results, shown, test, classes, aspects)),
        wrong=[clip_sheet(i, shown, test, classes, aspects) for i in mistakes[:SHEETS]],
        wrong_in_all=len(mistakes),
    )
    paths.report.parent.mkdir(parents=True, exist_ok=True)
    paths.report.write_text(page.render(report), encoding="utf-8")
    return flat


def predict(name: str, paths: Paths, test: SplitPart) -> Prediction:
    """Predict all test clips with the deployed form of the model `name`."""
    model, card = load_model(paths.final_model(name), create_model)
    folder = paths.export(name)
    form, forms = read_forms(folder)
    seen = test.reduced(card.network_input.reduce)
    example = seen.median_clip()
    parallel, deployed = (open_network(folder, form.runtime, at_once=calls) for calls in (cores(), 1))
    warm_up([parallel, deployed], example)
    answers = seen.predict(parallel, f"{name}: test")
    return Prediction(name, model, card, answers, deployed, form, forms, example)


def time_preparations(files: list[Path], inputs: list[NetworkInput]) -> list[Latency]:
    """Times of preparing single raw files as `inputs` say, by decoding and optical flow, in one thread.

    Inputs take turns on each file, so that other load on the machine affects all equally. Each file is read
    once before: else only the first input would wait for the disk. Equal inputs are timed once.
    """
    needed = {input.model_dump_json(): input for input in inputs}
    chosen = [files[i] for i in spread_indices(len(files), PREPARED_CLIPS)]
    for file in chosen:
        pack_clip(file, inputs[0])
    spent = [time_calls([partial(pack_clip, file, input) for input in needed.values()]) for file in chosen]
    times = {key: percentiles(column) for key, column in zip(needed, zip(*spent, strict=True), strict=True)}
    return [times[input.model_dump_json()] for input in inputs]


def score(
    r: Prediction, test: SplitPart, draws: Resampling, speed: Latency, prepare: Latency
) -> dict[str, float]:
    """The row of one model in the table."""
    resampled = resampled_confusions(test.truth, r.predicted, r.test.shape[1], draws)
    row = metrics.summary(test.truth, r.test)
    for key, of in RESAMPLED_METRICS.items():
        row |= with_interval(key, row[key], of(resampled))
    row |= by_video(r, test, draws)
    clips = r.card.network_input.clips
    total = clips * speed.p50 + prepare.p50
    return (
        row
        | r.card.validation
        | {
            "params": r.card.params,
            "macs": r.card.macs,
            "megabytes": r.form.megabytes,
            "latency_p50_ms": speed.p50,
            "latency_p95_ms": speed.p95,
            "prepare_p50_ms": prepare.p50,
            "prepare_p95_ms": prepare.p95,
            "file_to_answer_p50_ms": total,
            "total_p50_ms": total,
            "total_p95_ms": clips * speed.p95 + prepare.p95,
        }
    )


def by_video(r: Prediction, test: SplitPart, draws: Resampling) -> dict[str, float]:
    """Accuracy and macro-F1 per video, from the mean probabilities of its clips, with intervals.

    Empty where every video has a single clip.
    """
    first, votes = metrics.average_by_video(r.test, test.rows["video"].tolist())
    if len(first) == len(r.test):
        return {}
    truth, predicted = test.truth[first], votes.argmax(1)
    matrix = metrics.confusion(truth, predicted, r.test.shape[1])
    # All clips of a video are one twin set, so a video belongs to one unit of the resampling.
    resampled = resampled_confusions(
        truth, predicted, r.test.shape[1], replace(draws, unit=draws.unit[first])
    )
    row = {"videos": float(len(first))}
    for key, of in RESAMPLED_METRICS.items():
        row |= with_interval(f"video_{key}", float(of(matrix)), of(resampled))
    return row


def compare(results: list[Prediction], test: SplitPart, draws: Resampling) -> Iterator[dict[str, Any]]:
    """Paired differences in macro-F1 of `COMPARISONS`, on the same resamples for both models."""
    by_name = {r.name: r for r in results}
    for name, versus in COMPARISONS:
        if name in by_name and versus in by_name:
            a, b = by_name[name], by_name[versus]
            (delta_a, many_a), (delta_b, many_b) = (
                (
                    float(metrics.macro_f1(metrics.confusion(test.truth, r.predicted, r.test.shape[1]))),
                    metrics.macro_f1(resampled_confusions(test.truth, r.predicted, r.test.shape[1], draws)),
                )
                for r in (a, b)
            )
            low, high = percentile_interval(many_a - many_b)
            yield {"name": name, "versus": versus, "delta": delta_a - delta_b, "low": low, "high": high}


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


def model_result(
    r: Prediction, scores: dict[str, float], test: SplitPart, classes: list[str], paths: Paths
) -> page.ModelResult:
    """The part of the report about one model."""
    file = paths.curves(r.name)
    curve = pd.read_csv(file) if file.exists() else pd.DataFrame()
    return page.ModelResult(
        r.name,
        scores,
        metrics.confusion(test.truth, r.predicted, len(classes)).tolist(),
        metrics.per_class(test.truth, r.predicted, classes),
        metrics.reliability(test.truth, r.test),
        None if curve.empty else curve,  # a head fitted in closed form has no epochs
        r.form,
        r.forms,
    )


def explain_clips(
    results: list[Prediction],
    shown: list[Prediction],
    test: SplitPart,
    classes: list[str],
    aspects: list[float],
) -> Iterator[page.ShownClip]:
    """Grad-CAM of several models on clips that the last of them gets wrong, and on some that it gets right.

    For networks with streams the models are `shown`: the original and the compressed one. For networks for
    pictures they are the student without and with distillation, layer by layer (P3, Fig. 9).
    """
    explain = examples.explain_clip
    if is_for_pictures(shown[-1].model):
        shown = [r for r in results if r.name in ("control", "distilled")] or shown
        explain = examples.explain_by_layer
    else:
        shown = [r for r in shown if has_streams(r.model)]
    # The heat maps of one picture: of networks that see the same, and that see pictures.
    shown = [r for r in shown if r.card.network_input == shown[-1].card.network_input]
    if shown and (reduce := shown[-1].card.network_input.reduce) is not None:
        test = test.reduced(reduce)
        shown = [] if reduce.streams == "flow" else shown
    for i in examples.select_examples(test.truth, shown[-1].test) if shown else []:
        row = test.rows.iloc[i]
        models = [(r.model, clip_prediction(r, i, classes)) for r in shown]
        yield explain(row["id"], row["label"], test.clips.all_frames(i), aspects[i], models)


def clip_sheet(
    i: int, shown: list[Prediction], test: SplitPart, classes: list[str], aspects: list[float]
) -> page.ShownClip:
    """The contact sheet of test clip `i` with the predictions of the models `shown`."""
    row = test.rows.iloc[i]
    verdicts = [clip_prediction(r, i, classes) for r in shown]
    return examples.clip_sheet(row["id"], row["label"], test.clips.all_frames(i), aspects[i], verdicts)


def clip_prediction(r: Prediction, i: int, classes: list[str]) -> page.ClipPrediction:
    """The prediction of a model for test clip `i`."""
    return page.ClipPrediction(title(r.name), classes[r.predicted[i]], float(r.test[i].max()))


def read_rows(path: Path) -> list[dict[str, float]]:
    """The rows of a CSV file of numbers; empty without the file, as in folds."""
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]


def read_json(path: Path) -> dict[str, Any] | None:
    """The object in the JSON file `path`; None without the file."""
    return json.loads(path.read_text()) if path.exists() else None
