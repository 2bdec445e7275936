"""Evaluate the champion on new labelled clips and compare with its score at publication."""

import json
from dataclasses import asdict, dataclass, replace

import pandas as pd

from slimstream.core.errors import UserError
from slimstream.core.paths import Paths
from slimstream.experiments.stage_runs import prepare_source
from slimstream.pipeline.params import Params
from slimstream.registry import artifacts, gate
from slimstream.registry.lineage import training_data
from slimstream.registry.versions import Registry, utc_now

COMMAND = "evaluate-champion"


@dataclass(frozen=True)
class ChampionHealth:
    """Score of the champion on new clips."""

    name: str
    version: int
    clips: int
    macro_f1: float
    expected: float
    """Lower end of the 95 % interval that evaluate computed on the original test clips."""

    @property
    def dropped(self) -> bool:
        return self.macro_f1 < self.expected

    def __str__(self) -> str:
        verdict = "has dropped below" if self.dropped else "keeps to"
        return (
            f"{self.name} version {self.version} {verdict} what it promised: macro-F1 {self.macro_f1:.3f} on "
            f"{self.clips} fresh clips; at least {self.expected:.3f} was expected."
        )


def evaluate_champion(params: Params, paths: Paths, source: str) -> ChampionHealth:
    """Fetch and validate the clips of `source`; evaluate the champion on those it was not trained on.

    Known cameras are allowed, because the check looks for drift over time. Writes
    runs/evaluate-champion.json and sets the tags `checked_at` and `checked_macro_f1` of the version.
    Raises UserError without a champion, or with fewer clips than `publish.gate.min_clips`.
    """
    registry = Registry(params.publish.name, paths)
    version = registry.champion()
    if version is None:
        raise UserError(f"{registry.name} has no champion yet: there is nothing to evaluate.")
    lineage = registry.lineage(version)
    home = Paths(paths.cache / "fresh")
    for done in home.root.glob("*.seconds"):  # the clips of the source may have changed
        done.unlink()
    split = params.split.model_copy(update={"group_by": [], "given": None})
    ungrouped = params.model_copy(update={"split": split})
    prepare_source(ungrouped, home, source, paths)
    clips = pd.read_parquet(home.clips)
    fresh = clips[gate.unseen_clips(clips, clips, [replace(training_data(lineage), group_by=())])]
    if len(fresh) < (least := params.publish.gate.min_clips):
        raise UserError(
            f"{source}: {len(fresh)} clips that version {version} has not learnt from; {least} are needed."
        )
    files = [home.ingested / path for path in fresh["path"]]
    (answers,) = artifacts.score_clips(registry.uri, [f"models:/{registry.name}/{version}"], files)
    score = gate.macro_f1(fresh["label"], answers["label"], sorted(fresh["label"].unique()))
    health = ChampionHealth(
        registry.name, version, len(fresh), score, registry.score_of_files(version, "macro_f1_low")
    )
    registry.tag(version, checked_at=utc_now(), checked_macro_f1=f"{score:.4f}")
    file = paths.run(COMMAND)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({**asdict(health), "dropped": health.dropped}, indent=2) + "\n")
    return health
