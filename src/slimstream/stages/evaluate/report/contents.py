"""The parts of the report about single models and single clips."""

from collections.abc import Iterator

import pandas as pd

from slimstream.core.paths import Paths
from slimstream.runtimes.split_part import SplitPart
from slimstream.stages.evaluate.deployed import Prediction
from slimstream.stages.evaluate.params import GradcamScore
from slimstream.stages.evaluate.report import examples
from slimstream.stages.evaluate.report.gradcam import has_heat, has_streams, is_for_pictures
from slimstream.stages.evaluate.report.plots import title
from slimstream.stages.evaluate.report.types import ClipPrediction, ModelResult, ShownClip
from slimstream.training.metrics import classification as metrics


def model_result(
    r: Prediction, scores: dict[str, float], test: SplitPart, classes: list[str], paths: Paths
) -> ModelResult:
    """The part of the report about one model."""
    file = paths.curves(r.name)
    curve = pd.read_csv(file) if file.exists() else pd.DataFrame()
    return ModelResult(
        r.name,
        scores,
        metrics.confusion(test.truth, r.predicted, len(classes)).tolist(),
        metrics.per_class(test.truth, r.predicted, classes),
        metrics.reliability(test.truth, r.test),
        metrics.reliability(test.truth, r.uncalibrated),
        None if curve.empty else curve,  # a head fitted in closed form has no epochs
        r.form,
        r.forms,
        per_group(r, test),
        r.calibration.left_out or {},
    )


def per_group(r: Prediction, test: SplitPart) -> list[dict[str, object]]:
    """One row per group: group, clips, and how many of them `r` classifies right."""
    right = pd.Series(r.predicted == test.truth).groupby(test.rows["group"].to_numpy())
    return [
        {"group": str(group), "clips": int(clips), "right": int(hits)}
        for group, clips, hits in right.agg(["size", "sum"]).itertuples()
    ]


def explain_clips(
    results: list[Prediction],
    shown: list[Prediction],
    test: SplitPart,
    classes: list[str],
    aspects: list[float],
    score: GradcamScore,
) -> Iterator[ShownClip]:
    """Grad-CAM of several models on clips that the last of them gets wrong, and on some that it gets right.

    For networks with streams the models are `shown`: the original and the compressed one. For networks for
    pictures they are the student without and with distillation, layer by layer (P3, Fig. 9).
    """
    explain = examples.explain_clip
    if is_for_pictures(shown[-1].model):
        shown = [r for r in results if r.name in ("control", "distilled")] or shown
        shown = [r for r in shown if has_heat(r.model)]
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
        yield explain(row["id"], row["label"], test.clips.all_frames(i), aspects[i], models, score)


def clip_sheet(
    i: int, shown: list[Prediction], test: SplitPart, classes: list[str], aspects: list[float]
) -> ShownClip:
    """The contact sheet of test clip `i` with the predictions of the models `shown`."""
    row = test.rows.iloc[i]
    verdicts = [clip_prediction(r, i, classes) for r in shown]
    return examples.clip_sheet(row["id"], row["label"], test.clips.all_frames(i), aspects[i], verdicts)


def clip_prediction(r: Prediction, i: int, classes: list[str]) -> ClipPrediction:
    """The prediction of a model for test clip `i`."""
    return ClipPrediction(title(r.name), classes[r.predicted[i]], float(r.test[i].max()))
