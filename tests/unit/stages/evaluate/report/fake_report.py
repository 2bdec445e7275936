"""A report of the real format with numbers made up, in the two forms a run can take."""

import numpy as np
import pandas as pd

from slimstream.runtimes.base import Form
from slimstream.stages.evaluate.report import images, page
from slimstream.training.metrics import classification as metrics
from slimstream.training.metrics import intervals

SIZES = {"baseline": 3.4e6, "original": 6.1e6, "pruned": 2.1e6, "control": 2.1e6, "distilled": 2.1e6}


def report(
    classes: tuple[str, ...] = ("leak", "diverted", "normal"),
    groups: int = 3,
    simulated: bool = True,
    right: float = 0.85,
    names: tuple[str, ...] = tuple(SIZES),
) -> page.Report:
    rng = np.random.default_rng(0)
    n, k = 72, len(classes)
    truth = np.arange(n) % k
    draws = intervals.draw_resamples([f"g{i * groups // n}" for i in range(n)], range(n), resamples=100)
    models, resampled = [], {}
    for name in names:
        said = np.where(rng.random(n) < right, truth, (truth + 1) % k)
        probabilities = np.full((n, k), 0.2 / k) + 0.8 * np.eye(k)[said]
        many = metrics.macro_f1(intervals.resampled_confusions(truth, said, k, draws))
        low, high = intervals.percentile_interval(many)
        scores = metrics.summary(truth, probabilities) | {
            "macro_f1_low": low,
            "macro_f1_high": high,
            "params": SIZES[name],
            "macs": 1e9,
            "megabytes": SIZES[name] * 4e-6,
            "latency_p50_ms": SIZES[name] * 3e-5,
            "latency_p95_ms": SIZES[name] * 4e-5,
            "val_macro_f1": 0.9,
        }
        epoch = np.arange(4)
        curve = {"epoch": epoch, "train_loss": 1 / (epoch + 1), "val_loss": 1.1 / (epoch + 1)}
        table = pd.DataFrame(curve | {"val_accuracy": 0.8, "val_macro_f1": epoch / 4, "lr": 1e-3})
        matrix = metrics.confusion(truth, said, k)
        megabytes, ms = scores["megabytes"], scores["latency_p50_ms"]
        forms = [
            Form("onnx", 0, 0, megabytes, 2 * ms, 2 * ms),
            Form("openvino-int8", 0.004, 0.02, megabytes / 4, ms, ms),
        ]
        resampled[name] = (float(metrics.macro_f1(matrix)), many)
        models.append(
            page.ModelResult(
                name,
                scores,
                matrix.tolist(),
                metrics.per_class(truth, said, classes),
                metrics.reliability(truth, probabilities),
                None if name == "baseline" else table,
                forms[1],
                forms,
            )
        )
    differences = []
    for name, versus in (("distilled", "original"), ("distilled", "control")):
        if {name, versus} <= set(names):
            (a, many_a), (b, many_b) = resampled[name], resampled[versus]
            low, high = intervals.percentile_interval(many_a - many_b)
            differences.append({"name": name, "versus": versus, "delta": a - b, "low": low, "high": high})
    pack = rng.integers(0, 255, (8, 32, 32, 5), dtype=np.uint8)
    picture = images.jpeg_uri(pack[0, ..., :3])
    verdicts = [page.ClipPrediction("Original", classes[0], 0.9, picture, picture)]
    return page.Report(
        recipe="rig",
        simulated=simulated,
        classes=classes,
        absent=[],
        split={
            "hash": "9f2c4b7a10de55e1",
            "counts": {part: dict.fromkeys(classes, 5) for part in ("train", "val", "test")},
            "groups": {"train": ["a", "b"], "val": ["c"], "test": [f"g{i}" for i in range(groups)]},
        },
        models=models,
        preferred="distilled" if "distilled" in names else None,
        interval=draws.label,
        conditional=draws.conditional,
        test_groups=groups,
        test_clips=n,
        differences=differences,
        prepare=dict.fromkeys(names, (310.0, 390.0)),
        sweep=[
            {"rate": rate, "latency_p50_ms": 40 * (1 - 0.8 * rate), "val_macro_f1": 0.9 - rate**3}
            for rate in (0, 0.2, 0.4, 0.6, 0.8)
        ],
        frames=16,
        validation={
            "clips": 80,
            "accepted": 78,
            "quarantined": 2,
            "twin_sets": 3,
            "shortcuts": [
                {"cue": "border of the first frame", "score": 0.7, "p": 0.005, "flagged": True},
                {"cue": "file size", "score": 0.3, "p": 0.4, "flagged": False},
            ],
        },
        explained=[page.ShownClip("clip-1", classes[0], [picture], verdicts, picture)],
        wrong=[page.ShownClip("clip-2", classes[1], images.contact_sheet(pack, 4 / 3), verdicts)],
        wrong_in_all=3,
    )
