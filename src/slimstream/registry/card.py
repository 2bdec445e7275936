"""Descriptions that MLflow shows, in Markdown: of a version, of its pipeline and of the registered model."""

import json
from collections.abc import Mapping
from typing import Any

from slimstream.core.paths import Paths
from slimstream.pipeline.params import Params
from slimstream.stages.evaluate.verdict import Verdict
from slimstream.tracking.pipeline import NOTE_TAG, PARENT_TAG, differing

MODEL = """\
Classifies clips as {classes}. Each version is a compressed network with its preprocessing. The version with \
the alias `champion` is in use: `python -m slimstream predict CLIP --model {name}`, or in Python \
`mlflow.pyfunc.load_model("models:/{name}@champion")`. The gate compares each new version with it; the first \
line of a version's description says how it stands."""


def version_card(verdict: Verdict, lineage: Mapping[str, Any], paths: Paths) -> str:
    """The description of a version. Its first line, which MLflow's lists show, is its standing and why."""
    classes, extract = _classes_and_input(verdict.model, paths)
    learnt = len(lineage["training_clips"])
    commit = f" Commit `{verdict.commit[:12]}`." if verdict.commit else ""
    parts = {
        "What it is": f"the network `{verdict.model}` of the recipe {lineage['recipe']}, run by "
        f"{lineage['runtime']}. Classes: {classes}. Input: {extract}.",
        "Learnt from": f"{learnt} clips of {lineage['source']}, {split_sentence(lineage)}.{commit}",
        "Use": f"`python -m slimstream predict CLIP --model {verdict.name}/{verdict.version}`. The scores "
        "hold for clips like those of the source; `python -m slimstream evaluate-champion` checks that on "
        "new ones.",
    }
    standing, *comparison = verdict.sentences
    told = [
        _first_line(verdict.promoted, verdict.date, standing),
        *([" ".join(comparison)] if comparison else []),
    ]
    return "\n\n".join([*told, *(f"**{title}:** {text}" for title, text in parts.items())])


def with_standing(card: str, date: str, sentence: str, *, champion: bool) -> str:
    """The description `card` with another first line, for a change of the champion after it was written."""
    _, between, rest = card.partition("\n\n")
    return f"{_first_line(champion, date, sentence)}{between}{rest}"


def _first_line(champion: bool, date: str, sentence: str) -> str:
    """MLflow's lists show some twenty characters, so it begins with how the version stands."""
    return f"{'Champion' if champion else 'Not champion'}, {date[:10]}: {sentence}"


def split_sentence(lineage: Mapping[str, Any]) -> str:
    """How the clips were split; versions of earlier times do not record a given split."""
    if lineage.get("given"):
        return f"split as the column '{lineage['given']}' of the source says"
    if lineage["group_by"]:
        return f"split by {' and '.join(lineage['group_by'])}"
    if missing := lineage.get("without"):
        return (
            f"split by near-twin sets, for they have no column {' or '.join(missing)}: clips of one "
            f"{missing[0]} may lie in training and in test, and the scores may be flattered"
        )
    return "split by near-twin sets"


def model_description(name: str, chosen: str, paths: Paths) -> str:
    """The description of the registered model `name`."""
    return MODEL.format(classes=_classes_and_input(chosen, paths)[0], name=name)


def describe_pipeline(
    client: Any, run_id: str, verdict: Verdict, lineage: Mapping[str, Any], params: Params, paths: Paths
) -> None:
    """Describe the run of a pipeline: the verdict, the settings that differ, which stages ran in it."""
    run = client.get_run(run_id)
    nested = f"tags.`{PARENT_TAG}` = '{run_id}'"
    inside = client.search_runs([run.info.experiment_id], nested, max_results=1000)
    own = {child.info.run_id for child in inside}
    link = f"#/experiments/{run.info.experiment_id}/runs/"
    settings = ", ".join(f"`{name}: {value}`" for name, value in differing(params, paths).items())
    reused = [
        f"[{stage}]({link}{child})"
        for stage, child in lineage["mlflow_runs"].items()
        if child and child not in own
    ]
    parts = [
        str(verdict),
        f"**Differs from the recipe {params.recipe}:** {settings}." if settings else "",
        f"**Taken over from earlier pipelines:** {', '.join(reused)}." if reused else "",
    ]
    client.set_tag(run_id, NOTE_TAG, "\n\n".join(filter(None, parts)))


def _classes_and_input(chosen: str, paths: Paths) -> tuple[str, str]:
    """The classes and the input of an exported network, in words."""
    shown = json.loads((paths.export(chosen) / "preprocessing.json").read_text())
    height, width = shown["extract"]["size"]
    frames = shown["extract"].get("frames")
    what = f"{frames} frames" if frames and frames > 1 else "frames"
    return ", ".join(shown["classes"]), f"{what} of {width} × {height} pixels"
