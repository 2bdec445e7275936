"""Windows go to Label Studio and CVAT, and labels come back."""

import json
import zipfile
from pathlib import Path
from xml.etree import ElementTree

import cv2
import pytest

from slimstream.cli.parser import main
from slimstream.core.errors import UserError
from slimstream.watch.inbox import handoff, labels
from slimstream.watch.inbox.clip import write_clip
from slimstream.watch.inbox.store import Store
from tests.unit.watch import tiny
from tests.unit.watch.inbox.windows import item

ONE, TWO, THREE = item(1), item(2), item(3)

SHOWN = [(second, tiny.flat(tiny.RED)) for second in (0.0, 0.1, 0.2)]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Three windows, of which the second is labelled."""
    store = Store(tmp_path / "watched/inbox")
    for each in (ONE, TWO, THREE):
        store.add(each, lambda path: write_clip(SHOWN, path))
    labels.label(store, TWO.id, "foam")
    return store


def other(folder: Path) -> Store:
    """The same three windows, none labelled."""
    store = Store(folder)
    for each in (ONE, TWO, THREE):
        store.add(each, lambda path: write_clip(SHOWN[:2], path))
    return store


def test_label_studio_gets_tasks_with_clips_predictions_and_labels(store: Store, tmp_path: Path) -> None:
    assert handoff.export(store, "label-studio", tmp_path / "out") == 3
    tasks = json.loads((tmp_path / "out/tasks.json").read_text())
    assert tasks[0]["data"]["video"] == f"/data/local-files/?d=out/clips/{ONE.clip}"
    assert (tmp_path / "out/clips" / ONE.clip).read_bytes() == (store.folder / ONE.clip).read_bytes()
    (predicted,) = tasks[0]["predictions"][0]["result"]
    assert predicted == {
        "from_name": "state",
        "to_name": "video",
        "type": "choices",
        "value": {"choices": ["leak"]},
    }
    assert "annotations" not in tasks[0] and tasks[0]["predictions"][0]["score"] == 0.55
    config = ElementTree.parse(tmp_path / "out/config.xml")
    assert [c.get("value") for c in config.iter("Choice")] == ["foam", "leak", "normal", "nonsense"]
    assert handoff.read(tmp_path / "out/tasks.json") == {TWO.id: ["foam"]}


def test_labels_of_label_studio_come_back(store: Store, tmp_path: Path) -> None:
    """The form of https://labelstud.io/guide/export: JSON, and JSON-MIN."""

    def said(name: str, cancelled: bool = False) -> dict[str, object]:
        result = {"id": "x", "from_name": "state", "to_name": "video", "type": "choices", "origin": "manual"}
        return {"id": 7, "was_cancelled": cancelled, "result": [result | {"value": {"choices": [name]}}]}

    def task(id: str, *annotations: object) -> dict[str, object]:
        return {"id": 1, "data": {"video": "x.mp4", "window": id}, "annotations": annotations, "drafts": []}

    exported = [
        task(ONE.id, said("normal"), said("leak", cancelled=True)),
        task(TWO.id, said("leak")),
        task(THREE.id, said("normal"), said("leak")),
        task("2020-01-01T000000.000-gone", said("leak")),
    ]
    (tmp_path / "labels.json").write_text(json.dumps(exported))
    done = handoff.import_labels(store, tmp_path / "labels.json")
    assert (done.labelled, done.dismissed) == (1, 0) and store.items()[ONE.id].label == "normal"
    assert done.skipped[TWO.id] == "decided here already" and store.items()[TWO.id].label == "foam"
    assert done.skipped[THREE.id] == "labelled differently: leak, normal" and len(done.skipped) == 3
    short = [{"video": "x.mp4", "window": THREE.id, "id": 3, "state": "nonsense", "annotator": 1}]
    (tmp_path / "short.json").write_text(json.dumps(short))
    assert handoff.import_labels(store, tmp_path / "short.json").dismissed == 1


def test_cvat_gets_sheets_and_gives_tags(store: Store, tmp_path: Path) -> None:
    handoff.export(store, "cvat", tmp_path / "out")
    root = ElementTree.parse(tmp_path / "out/annotations.xml").getroot()
    images = {image.get("name"): image for image in root.iter("image")}
    seen = cv2.imread(str(tmp_path / f"out/images/{ONE.id}.jpg"))
    assert seen.shape == (3 * 24, 3 * 32, 3) and images[f"{ONE.id}.jpg"].get("width") == str(3 * 32)
    assert not list(images[f"{ONE.id}.jpg"])
    assert {"name": "foam", "type": "tag", "attributes": []} in json.loads(
        (tmp_path / "out/labels.json").read_text()
    )
    ElementTree.SubElement(images[f"{ONE.id}.jpg"], "tag", {"label": "normal", "source": "manual"})
    ElementTree.SubElement(images[f"{THREE.id}.jpg"], "tag", {"label": "nonsense"})
    packed = tmp_path / "cvat.zip"
    with zipfile.ZipFile(packed, "w") as file:
        file.writestr("annotations.xml", ElementTree.tostring(root))
    fresh = other(tmp_path / "fresh")
    done = handoff.import_labels(fresh, packed)
    assert (done.labelled, done.dismissed, done.skipped) == (2, 1, {})
    assert [each.label for each in fresh.items().values()] == ["normal", "foam", None]


@pytest.mark.parametrize(
    "content",
    [b"", b"[1]", b'{"a": 1}', b"<html></html>", b"<annotations>", b"\x89PNG",
     b'<!DOCTYPE a [<!ENTITY b "c">]><annotations><image name="&b;"/></annotations>'],
)  # fmt: skip
def test_other_files_are_refused_with_a_sentence(store: Store, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "f").write_bytes(content)
    with pytest.raises(UserError, match="neither JSON of Label Studio nor XML of CVAT"):
        handoff.import_labels(store, tmp_path / "f")


def test_the_command(store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ask = ["--root", str(tmp_path), "inbox"]
    assert main(ask) == 0 and f"{ONE.id}  uncertain  answered leak\n" in capsys.readouterr().out
    out = str(tmp_path / "out")
    assert main([*ask, "export", "--to", "label-studio", out]) == 0
    assert main([*ask, "export", "--to", "label-studio", out]) == 2
    assert "is there already" in capsys.readouterr().err
    assert main([*ask, "import", f"{out}/tasks.json"]) == 0
    assert "0 windows labelled" in capsys.readouterr().out
    assert main([*ask, "--folder", str(tmp_path / "none"), "export", "--to", "cvat", f"{out}2"]) == 2
    assert not (tmp_path / "out2").exists()
