"""Publish: register the compressed model as a version; the gate decides whether it becomes champion."""

import json
import math
import os

import pandas as pd

from slimstream.core.errors import Unavailable, UserError
from slimstream.core.files import atomic_write
from slimstream.core.paths import Paths
from slimstream.pipeline.params import Params
from slimstream.registry import artifacts, gate
from slimstream.registry.card import describe_pipeline
from slimstream.registry.challenger import Challenger, find_challenger
from slimstream.registry.lineage import training_data
from slimstream.registry.links import commit_page, run_page
from slimstream.registry.versions import Registry, utc_now
from slimstream.stages.evaluate.model_rows import cost_of
from slimstream.stages.evaluate.report.judged import judged
from slimstream.stages.evaluate.verdict import Verdict, compare_with_original
from slimstream.tracking import run as tracking
from slimstream.tracking.address import tracking_off
from slimstream.tracking.store import experiment_id


def publish(params: Params, paths: Paths, flow_run_id: str | None = None, promote: bool = True) -> Verdict:
    """Register the compressed model with the best validation score and apply the gate.

    A model that is already registered is judged again, but makes no second version. `flow_run_id` defaults to
    SLIMSTREAM_FLOW_RUN_ID. Without `promote` the decision is recorded, but the champion does not change.
    Writes the verdict to runs/publish.json, the report and the version. Raises UserError when there is no
    model to publish or no registry.
    """
    if tracking_off():
        raise UserError("SLIMSTREAM_TRACKING is off, and publishing needs the registry; unset it.")
    challenger = find_challenger(params, paths, flow_run_id or os.environ.get("SLIMSTREAM_FLOW_RUN_ID"))
    registry = Registry(params.publish.name, paths)
    experiment = experiment_id(registry.client)  # raises a specific error when runs cannot be created
    with tracking.pipeline_run(params, paths, challenger.scores) as run:
        if run.run_id is None:
            raise Unavailable("MLflow became unavailable while publishing; publish again.")
        version = registry.find(challenger.lineage) or registry.add(run.run_id, challenger)
        before = registry.champion()
        # A publish that was cut off may have moved the alias: the first verdict on a version tells of it.
        untold = not registry.description(version)
        reasons = _judge(registry, version, challenger, promote)
        origin = registry.lineage(version)  # of a version that was there before: the code that made it
        now, commit = registry.champion(), origin["git_commit"] or ""
        verdict = Verdict(
            name=registry.name,
            version=version,
            model=challenger.model,
            champion=now,
            changed=now == version and (before != version or untold),
            reasons=tuple(reasons),
            comparison=tuple(compare_with_original(challenger.scores, challenger.model)),
            date=utc_now(),
            run_id=run.run_id,
            run_url=run_page(registry.uri, experiment, run.run_id),
            commit=commit,
            commit_url=commit_page(paths, commit),
            dirty=origin["dirty"],
        )
        registry.describe(verdict, origin, params.publish, paths)
        registry.tag_run(run.run_id, version)
        describe_pipeline(registry.client, run.run_id, verdict, challenger.lineage, params, paths)
        if paths.report_page.exists():
            with atomic_write(paths.report) as half:
                half.write_text(judged(paths.report_page.read_text("utf-8"), verdict), encoding="utf-8")
            run.artifact(paths.report)
    paths.run("publish").parent.mkdir(parents=True, exist_ok=True)
    paths.run("publish").write_text(json.dumps(verdict.to_json(), indent=2) + "\n")
    return verdict


def _judge(registry: Registry, version: int, challenger: Challenger, promote: bool) -> list[str]:
    """Apply the gate and promote what passes, if `promote`; returns the reasons.

    The champion, and what was rolled back, are not judged again.
    """
    tags = registry.tags()[version]
    if version == registry.champion():
        registry.tell_champion()
        by_hand = "it was made champion by hand; the gate had refused it"
        same = "nothing new: this very network on this very split is the champion"
        known = tags.get("gate_reasons", "").split("\n")
        return [by_hand if tags.get("gate") == "refused" else same, *filter(None, known)]
    if "rolled_back_at" in tags:
        return ["it was champion and has been rolled back; train a new one"]
    decision = _apply_gate(registry, version, challenger)
    registry.record(version, decision)
    if decision.passed and promote:
        registry.promote(version)
    elif decision.passed:
        return [*decision.reasons, "the gate would admit it, but promotion is switched off"]
    return decision.reasons


def _apply_gate(registry: Registry, version: int, challenger: Challenger) -> gate.Decision:
    """Run challenger, champion and best version on the same raw test clips and apply the gate."""
    policy, paths = challenger.params.publish.gate, challenger.paths
    chosen, scores, lineage = challenger.model, challenger.scores, challenger.lineage
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
            recorded = registry.score_of_files(best, "macro_f1")
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
    time, size = (cost_of(scores, chosen, key) for key in ("file_to_answer_p50_ms", "megabytes"))
    candidate = gate.Candidate(
        scores[f"{chosen}.macro_f1"],
        scores["original.macro_f1"],
        scores[f"{chosen}.latency_p95_ms"],
        scores[f"{chosen}.megabytes"],
        math.nan if time.ratio is None else time.ratio,
        time.equal,
        math.nan if size.ratio is None else size.ratio,
    )
    classes = tracking.read_json(paths.split_info)["classes"]
    return gate.decide_promotion(clips, candidate, policy, classes, recorded)
