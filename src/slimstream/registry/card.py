"""Descriptions that MLflow shows, in Markdown: of a version, of its pipeline and of the registered model."""

import json
from collections.abc import Mapping
from typing import Any

from slimstream.core.paths import Paths
from slimstream.pipeline.params import Params
from slimstream.tracking.headline import headline
from slimstream.tracking.pipeline import NOTE_TAG, PARENT_TAG, differing

MODEL = """\
Classifies clips as {classes}. Each version is a compressed network with its preprocessing. The version with \
the alias `champion` is in use: `python -m slimstream predict CLIP --model {name}`, or in Python \
`mlflow.pyfunc.load_model("models:/{name}@champion")`. The gate compares each new version with it; the first \
line of a version's description says how that ended."""


def version_card(
    verdict: str,
    name: str,
    version: int,
    lineage: Mapping[str, Any],
    scores: Mapping[str, float],
    paths: Paths,
) -> str:
    """The description of a version; its first line, which MLflow's lists show, is `verdict`."""
    chosen = str(lineage["model"])
    classes, extract = _classes_and_input(chosen, paths)
    known = headline(scores, chosen)
    learnt = len(lineage["training_clips"])
    by = " and ".join(lineage["group_by"]) or "near-twin sets"
    commit = f" Commit `{lineage['git_commit'][:12]}`." if lineage["git_commit"] else ""
    parts = {
        "What it is": f"the network `{chosen}` of the recipe {lineage['recipe']}, run by "
        f"{lineage['runtime']}. Classes: {classes}. Input: {extract}.",
        "How good": _quality(known),
        "How fast and small": _costs(known),
        "Learnt from": f"{learnt} clips of {lineage['source']}, split by {by}.{commit}",
        "Use": f"`python -m slimstream predict CLIP --model {name}/{version}`. The scores hold for clips "
        "like those of the source; `python -m slimstream evaluate-champion` checks that on new ones.",
    }
    return "\n\n".join([verdict, *(f"**{title}:** {text}" for title, text in parts.items() if text)])


def model_description(name: str, chosen: str, paths: Paths) -> str:
    """The description of the registered model `name`."""
    return MODEL.format(classes=_classes_and_input(chosen, paths)[0], name=name)


def describe_pipeline(
    client: Any, run_id: str, verdict: str, lineage: Mapping[str, Any], params: Params, paths: Paths
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
        verdict,
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


def _quality(known: Mapping[str, float]) -> str:
    if "macro_f1" not in known:
        return ""
    text = f"macro-F1 {known['macro_f1']:.3f}"
    if {"macro_f1_low", "macro_f1_high"} <= known.keys():
        text += f" (95 % interval {known['macro_f1_low']:.3f} to {known['macro_f1_high']:.3f})"
    if "judged_clips" in known:
        text += f" on {known['judged_clips']:.0f} test clips"
    return f"{text}; the uncompressed original has {known['original_macro_f1']:.3f}."


def _costs(known: Mapping[str, float]) -> str:
    told = {
        "file_to_answer_ms": "{:.0f} ms from file to answer on one thread",
        "megabytes": "{:.2f} MB",
        "parameters": "{:,.0f} parameters",
    }
    texts = [text.format(known[name]) for name, text in told.items() if name in known]
    return f"{', '.join(texts)}." if texts else ""
