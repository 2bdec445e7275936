"""Descriptions in Markdown: of a version, of its pipeline and of the registered model, for MLflow.

That of a version is its model card (Mitchell et al. 2019). A bundle carries the same, with tables of scores.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from slimstream.core.paths import Paths
from slimstream.pipeline.params import Params
from slimstream.registry.params import PublishParams
from slimstream.registry.scores import Score, Scores, read_scores
from slimstream.stages.evaluate.verdict import Verdict
from slimstream.tracking.pipeline import NOTE_TAG, PARENT_TAG, differing

CHAMPION_CARD = "Champion"
"""Beginning of the description of the champion."""
MODEL = """\
Classifies clips as {classes}. Each version is a compressed network with its preprocessing. The version with \
the alias `champion` is in use: `python -m slimstream predict CLIP --model {name}`, or in Python \
`mlflow.pyfunc.load_model("models:/{name}@champion")`. The gate compares each new version with it; the first \
line of a version's description says how it stands."""


LONGEST = 5000
"""Characters of a description that MLflow's database takes."""
SHOWN = 5
"""Groups that a description names."""


def version_card(
    verdict: Verdict, lineage: Mapping[str, Any], publish: PublishParams, scores: Scores, paths: Paths
) -> str:
    """The description of a version. Its first line, which MLflow's lists show, is its standing and why."""
    classes, extract = _classes_and_input(verdict.model, paths)
    learnt = len(lineage["training_clips"])
    commit = f" Commit `{verdict.commit[:12]}`." if verdict.commit else ""
    parts = {
        "What it is": f"the network `{verdict.model}` of the recipe {lineage['recipe']}, run by "
        f"{lineage['runtime']}. Classes: {classes}. Input: {extract}.",
        "Learnt from": f"{learnt} clips of {lineage['source']}, {split_sentence(lineage)}.{commit}",
        "Groups": groups_sentence(scores),
        "Not for": not_for(publish.not_for),
        "Licence": licence(publish.licence),
        "Use": f"`python -m slimstream predict CLIP --model {verdict.name}/{verdict.version}`. The scores "
        "hold for clips like those of the source; `python -m slimstream evaluate-champion` checks that on "
        "new ones.",
    }
    standing, *comparison = verdict.sentences
    told = [
        _first_line(verdict.promoted, verdict.date, standing),
        *([" ".join(comparison)] if comparison else []),
    ]
    return "\n\n".join([*told, *_titled(parts)])[:LONGEST]


def _titled(parts: Mapping[str, str]) -> list[str]:
    return [f"**{title}:** {text}" for title, text in parts.items()]


def groups_sentence(scores: Scores) -> str:
    """How many test clips of each group are right, or of those with the lowest shares."""
    rows = [score.row for score in scores.groups[:SHOWN]]
    which = "right test clips by group, with 95 % intervals"
    if len(scores.groups) > SHOWN:
        which = f"of {len(scores.groups)} groups those with the lowest share of right test clips"
    return f"{which}: {'; '.join(rows)}."


def not_for(own: str | None) -> str:
    """What a network must not be used for: what is true of every one, and the `own` words of its maker."""
    told = f"{own.strip().removesuffix('.')}. " if own else ""
    return (
        f"{told}It knows its classes alone: another state is answered with one of them, or with `unknown`, "
        "which is not certain. Do not let it decide alone where a wrong answer endangers people. Do not use "
        "it with cameras, plants or light that it did not learn from before its answers there were compared "
        "with labels. It was not made to recognise people."
    )


def licence(own: str | None) -> str:
    """Under which licences code and network may be used; `own` is that of the network."""
    network = own or "none is named: ask who trained it"
    return f"code: Apache-2.0. Network: {network}."


def bundle_card(name: str, folder: Path, description: str, file: str) -> str:
    """The card of the bundle `file`: the `description` of a version, tables of its scores, how to run it.

    `folder` is that of the deployed network. Where the registry says nothing, the card says so.
    """
    scores = read_scores(folder)
    nothing = "Nothing is recorded of"
    parts = [
        f"# {name}",
        description or _unregistered(folder),
        _table("group", scores.groups) if scores else f"{nothing} its scores by group: publish it again.",
        *([_table("class", scores.classes)] if scores else []),
        RUN.format(file=file),
    ]
    return "\n\n".join(parts) + "\n"


RUN = """\
## Running it

```
python3 {file} install env
env/bin/python {file} predict CLIP
env/bin/python {file} watch SOURCE
```

`verify` checks hashes, and the signature where `--public-key` names a key. A program that was changed can say
anything of itself: check a bundle by something that did not come with it, such as a bundle that runs already
(`env/bin/python OLD.pyz verify {file} --public-key FILE`)."""


def _unregistered(folder: Path) -> str:
    classes, extract = _described(folder)
    parts = {
        "What it is": f"a network that was not published. Classes: {classes}. Input: {extract}.",
        "Learnt from": "nothing is recorded: publish it first.",
        "Not for": not_for(None),
        "Licence": licence(None),
    }
    return "\n\n".join(_titled(parts))


def _table(column: str, scores: Sequence[Score]) -> str:
    rows = [f"| {column} | test clips | near-twin sets | right | 95 % interval |", "|---|--:|--:|--:|---|"]
    for score in scores:
        low, high = score.interval
        share = f"{score.right} ({100 * score.share:.0f} %)"
        name = score.name.replace("|", "\\|")
        rows.append(
            f"| {name} | {score.clips} | {score.sets} | {share} | {100 * low:.0f} to {100 * high:.0f} % |"
        )
    return f"## By {column}\n\n" + "\n".join(rows)


def with_standing(card: str, date: str, sentence: str, *, champion: bool) -> str:
    """The description `card` with another first line, for a change of the champion after it was written."""
    _, between, rest = card.partition("\n\n")
    return f"{_first_line(champion, date, sentence)}{between}{rest}"


def _first_line(champion: bool, date: str, sentence: str) -> str:
    """MLflow's lists show some twenty characters, so it begins with how the version stands."""
    return f"{CHAMPION_CARD if champion else 'Not champion'}, {date[:10]}: {sentence}"


def split_sentence(lineage: Mapping[str, Any]) -> str:
    """How the clips were split; versions of earlier times do not record a given split."""
    if lineage.get("given"):
        return f"split as the column '{lineage['given']}' of the source says"
    if lineage["group_by"]:
        return f"split by {' and '.join(lineage['group_by'])}"
    if missing := lineage.get("without"):
        return (
            f"split by near-twin sets, not by {' or '.join(missing)}: clips of one "
            f"{missing[0]} may lie in training and in test, and the scores may be flattered"
        )
    return "split by near-twin sets"


def model_description(name: str, chosen: str, paths: Paths) -> str:
    """The description of the registered model `name`."""
    return MODEL.format(classes=_classes_and_input(chosen, paths)[0], name=name)[:LONGEST]


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
    return _described(paths.export(chosen))


def _described(folder: Path) -> tuple[str, str]:
    """The classes and the input of an exported network, in words."""
    shown = json.loads((folder / "preprocessing.json").read_text())
    height, width = shown["extract"]["size"]
    frames = shown["extract"].get("frames")
    what = f"{frames} frames" if frames and frames > 1 else "frames"
    return ", ".join(shown["classes"]), f"{what} of {width} × {height} pixels"
