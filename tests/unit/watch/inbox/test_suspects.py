"""Suspected labels of the source stand in the list; corrections change what is learnt, not the source."""

import json
from pathlib import Path
from typing import Any

import pytest

from slimstream.catalog.manifest import clip_id
from slimstream.core.paths import Paths
from slimstream.stages.export.suspects import Suspect, write_suspects
from slimstream.stages.ingest.params import IngestParams
from slimstream.stages.ingest.scan import scan
from slimstream.watch.inbox.suspects import Suspects
from tests.unit.finished_pipeline import render

KEY = "leak/b.mp4"
ID = clip_id(KEY)
INGEST = IngestParams(source="plant")


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    """A scanned source with a blue clip in the folder `leak`, and an export that suspects it."""
    for key, colour in (("leak/a.mp4", "leak"), (KEY, "normal"), ("normal/c.mp4", "normal")):
        render(tmp_path / "plant" / key, colour, 1.0)
    paths = Paths(tmp_path)
    scan(INGEST, [], paths)
    paths.export("slim").mkdir(parents=True)
    found = [Suspect(ID, "leak", "normal", 0.1, 0.85), Suspect("gone-00000000", "leak", "normal", 0.2, 0.8)]
    write_suspects(found, 3, paths.export("slim"))
    return paths


def labels(paths: Paths) -> dict[str, str]:
    scan(INGEST, [], paths)
    content: Any = json.loads(paths.source_lock.read_text())
    return {item["key"]: item["label"] for item in content["items"]}


def test_a_correction_reaches_the_next_scan_and_can_be_taken_back(paths: Paths) -> None:
    suspects = Suspects(paths, paths.root / "watched/inbox")
    (found,) = suspects.items(paths.export("slim")).values()
    assert (found.key, found.suspect.suggested, found.label) == (KEY, "normal", "")
    suspects.decide(paths.export("slim"), ID, "normal")
    before = sorted(file.relative_to(paths.root) for file in (paths.root / "plant").rglob("*.mp4"))
    suspects.decide(paths.export("slim"), ID, "")
    assert labels(paths)[KEY] == "leak"
    suspects.decide(paths.export("slim"), ID, "normal")
    assert labels(paths) == {"leak/a.mp4": "leak", KEY: "normal", "normal/c.mp4": "normal"}
    assert before == sorted(file.relative_to(paths.root) for file in (paths.root / "plant").rglob("*.mp4"))
    assert not suspects.items(paths.export("slim"))  # it is mended


def test_a_correction_of_a_correction_is_of_the_label_in_the_source(paths: Paths) -> None:
    suspects, export = Suspects(paths, paths.root / "watched/inbox"), paths.export("slim")
    suspects.decide(export, ID, "normal")
    assert labels(paths)[KEY] == "normal"
    write_suspects([Suspect(ID, "normal", "leak", 0.1, 0.85)], 3, export)  # as the next network finds
    suspects.decide(export, ID, "")
    assert suspects.items(export)[ID].label == ""
    suspects.decide(export, ID, "foam")
    assert labels(paths)[KEY] == "foam"


@pytest.mark.parametrize(
    ("encoding", "separator"), [("utf-8-sig", ","), ("utf-8-sig", ";"), ("utf-16", "\t")]
)
def test_corrections_may_be_saved_by_a_spreadsheet(paths: Paths, encoding: str, separator: str) -> None:
    suspects = Suspects(paths, paths.root / "watched/inbox")
    suspects.decide(paths.export("slim"), ID, "normal")
    file = paths.root / "watched/inbox/corrections.csv"
    file.write_text(file.read_text().replace(",", separator), encoding=encoding)
    assert suspects.items(paths.export("slim"))[ID].label == "normal" and labels(paths)[KEY] == "normal"


def test_a_label_that_is_right_is_no_suspect_any_more_and_changes_nothing(paths: Paths) -> None:
    suspects = Suspects(paths, paths.root / "watched/inbox")
    suspects.decide(paths.export("slim"), ID, "leak")
    assert suspects.items(paths.export("slim"))[ID].label == "leak" and labels(paths)[KEY] == "leak"


def test_browsers_get_a_clip_that_they_can_play(paths: Paths) -> None:
    suspects = Suspects(paths, paths.root / "watched/inbox")
    with pytest.raises(ValueError, match="missing"):
        suspects.clip(paths.export("slim"), ID)  # it was not fetched here
    render(paths.ingested / f"{ID}.mp4", "normal", 1.0)
    shown = suspects.clip(paths.export("slim"), ID)
    assert shown.read_bytes()[4:8] == b"ftyp" and b"avc1" in shown.read_bytes()
    with pytest.raises(KeyError):
        suspects.clip(paths.export("slim"), "../../etc/passwd")


def test_where_nothing_is_known_there_are_none(paths: Paths) -> None:
    suspects = Suspects(paths, paths.root / "watched/inbox")
    assert not suspects.items(paths.export("pruned"))
    (paths.export("slim") / "suspects.json").write_text("[")
    assert not suspects.items(paths.export("slim"))
