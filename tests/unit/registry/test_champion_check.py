"""The champion on fresh clips: it keeps its promise, it drops, and what it cannot be asked about."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from slimstream.core.errors import UserError
from slimstream.core.paths import Paths
from slimstream.registry.champion_check import evaluate_champion
from slimstream.registry.publish import publish
from slimstream.registry.versions import Registry, promote
from tests.unit.finished_pipeline import PARAMS, render, write_clips, write_evaluation

FIRST = {"north": "train", "south": "val", "east": "test"}


@pytest.fixture(autouse=True)
def embedded(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI", "SLIMSTREAM_TRACKING", "SLIMSTREAM_CACHE"):
        monkeypatch.delenv(name, raising=False)
    yield


@pytest.mark.box
def test_the_champion_is_asked_about_fresh_clips(tmp_path: Path) -> None:
    paths = Paths(tmp_path / "project")
    paths.root.mkdir()
    subprocess.run(["git", "init", "-q", paths.root], check=True)
    (paths.root / "params.yaml").write_text("recipe: tiny\n")
    paths.clips.parent.mkdir(parents=True)
    with pytest.raises(UserError, match="tiny has no champion yet"):
        evaluate_champion(PARAMS, paths, "anywhere")
    write_clips(paths, FIRST)
    write_evaluation(paths, red=9, **{"distilled.macro_f1_low": 0.8, "distilled.macro_f1_high": 1.0})
    assert publish(PARAMS, paths).promoted

    fresh = tmp_path / "fresh"
    for label, wrong in (("leak", "normal"), ("normal", "leak")):
        for i in range(5):
            render(fresh / label / f"west-{label}-{i}.mp4", label, strength=(i + 1) / 5)
            render(tmp_path / "mixed" / label / f"up-{label}-{i}.mp4", wrong if i else label, (i + 1) / 5)
        # One that it has learnt from says nothing.
        (fresh / label / "old.mp4").write_bytes((paths.ingested / f"north-{label}-3.mp4").read_bytes())
    health = evaluate_champion(PARAMS, paths, str(fresh))
    assert (health.version, health.clips, health.macro_f1, health.dropped) == (1, 10, 1.0, False)
    assert "tiny version 1 keeps to what it promised: macro-F1 1.000 on 10 fresh clips" in str(health)
    assert json.loads(paths.run("evaluate-champion").read_text())["expected"] == 0.8
    assert Registry("tiny", paths).tags()[1]["checked_macro_f1"] == "1.0000"

    worse = evaluate_champion(PARAMS, paths, str(tmp_path / "mixed"))
    assert worse.dropped and worse.macro_f1 < 0.5 and "has dropped below" in str(worse)

    for file in fresh.rglob("west-*-[34].mp4"):
        file.unlink()
    with pytest.raises(UserError, match="6 clips that version 1 has not learnt from; 8 are needed"):
        evaluate_champion(PARAMS, paths, str(fresh))

    # By hand: only what is there, and what was refused only when it is meant.
    with pytest.raises(UserError, match="tiny has no version 7; registered: 1"):
        promote("tiny", 7, paths)
    assert promote("tiny", 1, paths) == "tiny version 1 is champion already."
    write_evaluation(paths, red=-9)
    assert not publish(PARAMS, paths).promoted
    with pytest.raises(UserError, match="version 2 was refused by the gate; say --force"):
        promote("tiny", 2, paths)
    said = "tiny version 2 is champion instead of version 1 though it was refused by the gate."
    assert promote("tiny", 2, paths, force=True) == said
    assert Registry("tiny", paths).champion() == 2
