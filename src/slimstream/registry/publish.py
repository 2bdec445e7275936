"""Publish: register the compressed model as a version; the gate decides whether it becomes champion."""

import json
import math
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd

from slimstream.core.errors import Unavailable, UserError
from slimstream.core.paths import Paths
from slimstream.pipeline.params import Params
from slimstream.registry import artifacts, gate
from slimstream.registry.card import describe_pipeline
from slimstream.registry.lineage import build_lineage, training_data
from slimstream.registry.versions import Registry
from slimstream.tracking import run as tracking
from slimstream.tracking.address import tracking_off
from slimstream.tracking.store import experiment_id
from slimstream.training.metrics.classification import preferred_model


@dataclass(frozen=True)
class PublishResult:
    """Result of publishing, written to runs/publish.json."""

    name: str
    version: int
    model: str
    """Name of the published model, such as "pruned"."""
    promoted: bool
    """True when this version is the champion now."""
    changed: bool
    """True when the champion has changed."""
    reasons: tuple[str, ...]
    run_id: str | None

    def __str__(self) -> str:
        what = f"{self.name} version {self.version} ({self.model})"
        verdict = "is champion" if self.promoted else "was registered but not promoted"
        return "\n  ".join([f"{what} {verdict}:", *self.reasons])


def publish(
    params: Params, paths: Paths, flow_run_id: str | None = None, promote: bool = True
) -> PublishResult:
    """Register the compressed model with the best validation score and apply the gate.

    A model that is already registered gets a new verdict, but no second version. `flow_run_id` defaults to
    SLIMSTREAM_FLOW_RUN_ID. Without `promote` the verdict is recorded, but the champion does not change.
    Writes runs/publish.json. Raises UserError when there is no model to publish or no registry.
    """
    scores = _scores(paths)
    chosen = preferred_model(scores, params.publish.models)
    if chosen is None:
        wanted = " or ".join(params.publish.models)
        raise UserError(
            f"{paths.metrics('evaluate')} scores no model {wanted} (publish.models); run `dvc repro` first."
        )
    if tracking_off():
        raise UserError("SLIMSTREAM_TRACKING is off, and publishing needs the registry; unset it.")
    flow_run_id = flow_run_id or os.environ.get("SLIMSTREAM_FLOW_RUN_ID")
    lineage = build_lineage(params, paths, chosen, flow_run_id)
    registry = Registry(params.publish.name, paths)
    experiment_id(registry.client)  # raises a specific error when runs cannot be created
    with tracking.pipeline_run(params, paths, scores) as run:
        if run.run_id is None:
            raise Unavailable("MLflow became unavailable while publishing; publish again.")
        version = registry.find(lineage) or registry.add(run.run_id, params, paths, chosen, scores, lineage)
        before = registry.champion()
        if version == before:
            reasons = ["nothing new: this very network on this very split is the champion"]
        elif "rolled_back_at" in registry.tags()[version]:
            reasons = ["it was champion and has been rolled back; train a new one"]
        else:
            verdict = _apply_gate(registry, version, params, paths, chosen, scores, lineage)
            registry.record(version, verdict, scores, paths)
            reasons = verdict.reasons
            if verdict.passed and promote:
                registry.promote(version)
            elif verdict.passed:
                reasons.append("the gate would admit it, but promotion is switched off")
        now = registry.champion()
        outcome = PublishResult(
            params.publish.name, version, chosen, now == version, now != before, tuple(reasons), run.run_id
        )
        registry.tag_run(run.run_id, version)
        describe_pipeline(registry.client, run.run_id, str(outcome), lineage, params, paths)
        if paths.report.exists():
            run.artifact(paths.report)
    paths.run("publish").parent.mkdir(parents=True, exist_ok=True)
    paths.run("publish").write_text(json.dumps(asdict(outcome), indent=2) + "\n")
    return outcome


def _apply_gate(
    registry: Registry,
    version: int,
    params: Params,
    paths: Paths,
    chosen: str,
    scores: Mapping[str, float],
    lineage: Mapping[str, Any],
) -> gate.Verdict:
    """Run challenger, champion and best version on the same raw test clips and apply the gate."""
    policy = params.publish.gate
    everything = pd.read_parquet(paths.clips)
    split = pd.read_parquet(paths.split)
    test = everything[everything["id"].isin(split[split["part"] == "test"]["id"])]

    def comparable_clips(*rivals: int) -> pd.DataFrame:
        known = [training_data(lineage), *(training_data(registry.lineage(number)) for number in rivals)]
        fresh = test[gate.unseen_clips(test, everything, known)]
        return fresh[["id", "path", "label", "twin"]].merge(split[["id", "group"]], on="id")

    asked, recorded = {"challenger": version}, None
    if (champion := registry.champion()) is not None:
        asked["champion"] = champion
    clips = comparable_clips(*asked.values())
    if (best := registry.best_version()) is not None:
        if len(both := comparable_clips(*asked.values(), best)) >= policy.min_clips:
            asked["best"], clips = best, both
        else:  # the best version was trained on some of them: use its recorded score
            recorded = float(registry.tags()[best]["macro_f1"])
    if len(clips) >= policy.min_clips:
        uris = {number: f"models:/{registry.name}/{number}" for number in asked.values()}
        files = [paths.ingested / path for path in clips["path"]]
        answers = dict(
            zip(uris, artifacts.score_clips(registry.uri, list(uris.values()), files), strict=True)
        )
        predictions = pd.read_parquet(paths.predictions)
        artifacts.check_parity(
            clips["id"], answers[version], predictions[predictions["model"] == chosen], lineage["runtime"]
        )
        clips = clips.assign(**{who: answers[number]["label"] for who, number in asked.items()})
    candidate = gate.Candidate(
        scores[f"{chosen}.macro_f1"],
        scores["original.macro_f1"],
        scores[f"{chosen}.latency_p95_ms"],
        scores[f"{chosen}.megabytes"],
        _ratio(scores, chosen, "file_to_answer_p50_ms"),
        _ratio(scores, chosen, "megabytes"),
    )
    classes = tracking.read_json(paths.split_info)["classes"]
    return gate.decide_promotion(clips, candidate, policy, classes, recorded)


def _ratio(scores: Mapping[str, float], name: str, metric: str) -> float:
    """`metric` of the model `name` as a share of the original's; nan where it was not measured."""
    return scores.get(f"{name}.{metric}", math.nan) / scores.get(f"original.{metric}", math.nan)


def _scores(paths: Paths) -> dict[str, float]:
    return {key: float(value) for key, value in tracking.read_json(paths.metrics("evaluate")).items()}
