"""The validate stage on tiny clips, good and bad, and on the real ones where they are."""

import hashlib
import json
import shutil
import wave
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from slimstream.catalog.listing import LABELLED
from slimstream.catalog.manifest import clip_id, write_manifest
from slimstream.clips.video import probe
from slimstream.core.errors import UserError
from slimstream.core.media import UnreadableVideo
from slimstream.core.paths import Paths
from slimstream.core.progress import null_log
from slimstream.pipeline.params import Params
from slimstream.pipeline.stages import STAGES
from slimstream.splits.params import SplitParams
from slimstream.stages.validate import stage as validate
from slimstream.stages.validate.params import ValidateParams
from tests.unit.clips.rendered_clips import boxed, texture, write_video

LABELS = ("leak", "normal")


def clip(seed: int, count: int = 16) -> list[np.ndarray]:
    """A drifting texture of its own, (48, 64, 3) pictures."""
    whole = texture(96, seed)
    return [whole[k % 40 : k % 40 + 48, :64].copy() for k in range(count)]


def good(raw: Path, cameras: int = 3, per_class: int = 4, box: str = "") -> list[dict[str, Any]]:
    rows = []
    for camera in range(cameras):
        for label in LABELS:
            for number in range(per_class):
                pictures = clip(seed=len(rows))
                if label == box:
                    pictures[0] = boxed(pictures[0], left=12)
                key = f"{label}/c{camera}-{number}.avi"
                path = write_video(raw / f"{clip_id(key)}.avi", pictures, "MJPG")
                rows.append(row(key, path, label, f"c{camera}"))
    return rows


def row(key: str, path: Path, label: str, camera: str = "c0", **more: Any) -> dict[str, Any]:
    found = {"id": clip_id(key), "key": key, "path": path.name, "label": label, "camera": camera}
    found |= {
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "bytes": path.stat().st_size,
        "problem": "",
        "held_out": False,
    }
    try:
        info = probe(path)
    except UnreadableVideo:
        return found | more
    names = ("frames", "fps", "width", "height", "seconds", "codec")
    return found | {name: getattr(info, name) for name in names} | more


def lay_out(root: Path, rows: list[dict[str, Any]]) -> Paths:
    paths = Paths(root)
    write_manifest(rows, paths.manifest)
    return paths


def params(**settings: Any) -> Params:
    return Params(validate_=ValidateParams(**settings), split=SplitParams(group_by=["camera"]))


@pytest.fixture(scope="module")
def plant(tmp_path_factory: pytest.TempPathFactory) -> tuple[Paths, dict[str, float]]:
    """A plant's folder with all that goes wrong, validated."""
    root = tmp_path_factory.mktemp("plant")
    raw = Paths(root).ingested
    raw.mkdir(parents=True)
    rows = good(raw)
    first = raw / rows[0]["path"]

    def bad(key: str, content: bytes, label: str = "leak", **more: Any) -> None:
        path = raw / f"{clip_id(key)}{Path(key).suffix}"
        path.write_bytes(content)
        rows.append(row(key, path, label, **more))

    bad("zz/copy of the first.avi", first.read_bytes())
    twice = write_video(raw / "twice.avi", clip(900), "MJPG").read_bytes()
    (raw / "twice.avi").unlink()
    bad("contradiction a.avi", twice, "leak")
    bad("contradiction b.avi", twice, "normal")
    bad("empty.mp4", b"")
    bad("no video.mp4", b"not a video at all" * 99)
    whole = write_video(raw / "whole.avi", clip(901, 60), "MJPG")
    bad("truncated.avi", whole.read_bytes()[: whole.stat().st_size // 2])
    whole.unlink()
    bad("one frame.avi", write_video(raw / "one.avi", clip(902, 1), "MJPG").read_bytes())
    with wave.open(str(raw / "sound.wav"), "wb") as sound:
        sound.setparams((1, 2, 8000, 0, "NONE", ""))
        sound.writeframes(bytes(16000))
    bad("only sound.mp4", (raw / "sound.wav").read_bytes())
    bad("suffix lies but it is a video.mp4", write_video(raw / "x.avi", clip(903), "MJPG").read_bytes())
    bad("no camera.avi", write_video(raw / "y.avi", clip(904), "MJPG").read_bytes(), camera="")
    bad("moved.avi", write_video(raw / "z.avi", clip(905), "MJPG").read_bytes())
    (raw / rows[-1]["path"]).unlink()
    secret = write_video(root / "secret.avi", clip(906), "MJPG")
    rows.append(row("outside.avi", secret, "leak") | {"path": "../../secret.avi"})
    rows.append({"id": clip_id("/abs.avi"), "key": "/abs.avi", "problem": "the path is absolute"})
    # A clip whose twin was recorded by another camera: one of the two names is wrong.
    soft = [np.clip(p.astype(int) + 1, 0, 255).astype(np.uint8) for p in clip(seed=5)]
    bad("leak/moved camera.avi", write_video(raw / "w.avi", soft, "MJPG").read_bytes(), camera="c2")
    soft = [np.clip(p.astype(int) + 1, 0, 255).astype(np.uint8) for p in clip(seed=12)]
    bad("normal/twin.avi", write_video(raw / "v.avi", soft, "MJPG").read_bytes(), "normal", camera="c1")
    paths = lay_out(root, rows)
    return paths, STAGES["validate"].run(params(max_quarantined=0.5), paths, null_log)


def test_each_bad_clip_is_quarantined_for_its_own_reason(plant: tuple[Paths, dict[str, float]]) -> None:
    paths, metrics = plant
    table = pd.read_csv(paths.validation / "quarantine.csv", keep_default_na=False).set_index("key")["reason"]
    wanted = {
        "zz/copy of the first.avi": "byte-identical to leak/c0-0.avi",
        "contradiction a.avi": "different labels: leak, normal",
        "contradiction b.avi": "different labels: leak, normal",
        "empty.mp4": "empty",
        "no video.mp4": "no video stream",
        "truncated.avi": "truncated",
        "one frame.avi": "one frame",
        "only sound.mp4": "no video stream",
        "no camera.avi": "no value in the group column camera",
        "moved.avi": "missing",
        "outside.avi": "leaves data/ingested",
        "/abs.avi": "the path is absolute",
        "leak/moved camera.avi": "a near twin has another camera",
        "normal/c0-1.avi": "a near twin has another camera",
    }
    assert set(table.index) == set(wanted)
    for key, words in wanted.items():
        assert words in table[key], key
    assert metrics["quarantined"] == len(wanted) and metrics["clips"] == 39


def test_the_good_clips_go_on_with_their_twins(plant: tuple[Paths, dict[str, float]]) -> None:
    paths, metrics = plant
    clips = pd.read_parquet(paths.clips).set_index("key")
    assert len(clips) == metrics["accepted"] == 25
    assert list(clips.index) == sorted(clips.index)
    assert clips.loc["suffix lies but it is a video.mp4", "frames"] == 16
    assert (clips["seconds"] == clips["frames"] / clips["fps"]).all()
    assert clips.loc["normal/twin.avi", "twin"] == clips.loc["normal/c1-0.avi", "id"]
    assert metrics["twin_sets"] == 1 and metrics["twinned_clips"] == 2


def test_reports(plant: tuple[Paths, dict[str, float]]) -> None:
    paths, _ = plant
    summary = json.loads((paths.validation / "summary.json").read_text())
    assert (summary["clips"], summary["accepted"], summary["quarantined"]) == (39, 25, 14)
    assert sum(summary["classes"].values()) == 25
    assert {cue["cue"] for cue in summary["shortcuts"]} >= {
        "border",
        "resolution",
        "duration",
        "file_size",
        "mean_frame",
    }
    assert (paths.validation / "data_docs/index.html").is_file()


def test_a_planted_box_is_flagged_and_a_clean_set_is_not(tmp_path: Path) -> None:
    flagged = {}
    for name, box in (("clean", ""), ("boxed", "leak")):
        raw = Paths(tmp_path / name).ingested
        raw.mkdir(parents=True)
        paths = lay_out(tmp_path / name, good(raw, cameras=4, box=box))
        STAGES["validate"].run(params(), paths, null_log)
        found = json.loads((paths.validation / "summary.json").read_text())["shortcuts"]
        flagged[name] = {cue["cue"] for cue in found if cue["flagged"]}
    assert flagged["clean"] == set()
    assert "border" in flagged["boxed"]


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """No worker processes and no Great Expectations, where neither is what is tested."""
    monkeypatch.setattr(validate, "parallel_map", lambda work, items: enumerate(map(work, items)))
    monkeypatch.setattr(validate.checks, "run_expectations", lambda *_: [])


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, Any]]]:
    raw = tmp_path_factory.mktemp("clean") / "raw"
    raw.mkdir()
    return raw, good(raw, per_class=2)


@pytest.mark.usefixtures("in_process")
@pytest.mark.parametrize(
    ("change", "settings", "words"),
    [
        ({}, {"classes": ["leak"]}, "unknown labels 'normal'"),
        ({}, {"min_clips": 7}, "class leak has 6 usable clips, fewer than validate.min_clips = 7"),
        ({}, {"classes": ["leak", "normal", "flood"]}, "class flood has 0 usable clips"),
        ({"camera": "c0"}, {}, "need three groups and there are 1 by camera"),
        (
            {"problem": "broken"},
            {},
            "none of 12 clips can be used, 12 for this: broken; .*quarantine.csv gives",
        ),
        ({"label": "leak"}, {}, "all clips are of one class, leak"),
    ],
)
def test_the_run_stops_with_a_sentence(
    clean: tuple[Path, list[dict[str, Any]]],
    tmp_path: Path,
    change: dict[str, str],
    settings: Any,
    words: str,
) -> None:
    raw, rows = clean
    paths = lay_out(tmp_path, [row | change for row in rows])
    shutil.copytree(raw, paths.ingested)
    with pytest.raises(UserError, match=words):
        STAGES["validate"].run(params(**settings), paths, null_log)
    assert not paths.clips.exists()


@pytest.mark.usefixtures("in_process")
def test_clips_of_one_video_are_kept_together(
    clean: tuple[Path, list[dict[str, Any]]], tmp_path: Path
) -> None:
    raw, rows = clean
    video = {row["key"]: f"v{i // 2}" for i, row in enumerate(rows)}  # two clips a camera and label
    paths = lay_out(tmp_path, [row | {"video": video[row["key"]]} for row in rows])
    shutil.copytree(raw, paths.ingested)
    settings = Params(split=SplitParams(video="video"), validate_=ValidateParams(min_clips=1))
    metrics = STAGES["validate"].run(settings, paths, null_log)
    clips = pd.read_parquet(paths.clips)
    assert (clips.groupby("video")["twin"].nunique() == 1).all() and clips["twin"].nunique() == 6
    assert metrics["twin_sets"] == 0, "they are no near twins"
    STAGES["split"].run(settings, paths, null_log)
    parts = pd.read_parquet(paths.split)
    assert (parts["video"] == parts["id"].map(clips.set_index("id")["video"])).all()
    assert (parts.groupby("video")["part"].nunique() == 1).all() and parts["part"].nunique() == 3


@pytest.mark.usefixtures("in_process")
def test_clips_of_the_inbox_bring_a_class_and_near_twins_of_them_join_groups(
    clean: tuple[Path, list[dict[str, Any]]], tmp_path: Path
) -> None:
    """Nobody has written their groups, so that none is wrong."""
    raw, rows = clean
    paths = lay_out(tmp_path, [])
    shutil.copytree(raw, paths.ingested)
    alike = [np.clip(p.astype(int) + 1, 0, 255).astype(np.uint8) for p in clip(seed=0)]
    for name, pictures in (("a", alike), ("b", clip(seed=950))):
        key = f"{LABELLED}{name}.avi"
        path = write_video(paths.ingested / f"{clip_id(key)}.avi", pictures, "MJPG")
        rows = [*rows, row(key, path, "foam", f"gate {name}")]
    write_manifest(rows, paths.manifest)
    settings = params(classes=["leak", "normal"], min_clips=2)
    assert STAGES["validate"].run(settings, paths, null_log)["quarantined"] == 0
    STAGES["split"].run(settings, paths, null_log)
    parts = pd.read_parquet(paths.split)
    assert {"c0+gate a", "gate b"} <= set(parts["group"])
    summary = json.loads((paths.validation / "summary.json").read_text())
    assert summary["classes"] == {"foam": 2, "leak": 6, "normal": 6}


@pytest.mark.usefixtures("in_process")
def test_a_video_of_two_labels_cannot_vote(clean: tuple[Path, list[dict[str, Any]]], tmp_path: Path) -> None:
    raw, rows = clean
    paths = lay_out(tmp_path, [row | {"video": row["camera"]} for row in rows])
    shutil.copytree(raw, paths.ingested)
    with pytest.raises(
        UserError, match="the clips of video c0 have several labels, leak, normal, and cannot"
    ):
        STAGES["validate"].run(Params(split=SplitParams(video="video")), paths, null_log)
    with pytest.raises(UserError, match="'film', which is no column"):
        STAGES["validate"].run(Params(split=SplitParams(video="film")), paths, null_log)


@pytest.mark.usefixtures("in_process")
def test_too_many_lost(clean: tuple[Path, list[dict[str, Any]]], tmp_path: Path) -> None:
    """The sentence gives the commonest reason, whatever numbers are in it."""
    raw, rows = clean
    problems = {0: "empty", 4: "truncated: 1.2 of 3.0 seconds", 8: "truncated: 0.4 of 3.0 seconds"}
    paths = lay_out(
        tmp_path, [row | ({"problem": problems[i]} if i in problems else {}) for i, row in enumerate(rows)]
    )
    shutil.copytree(raw, paths.ingested)
    with pytest.raises(
        UserError,
        match=r"3 of 12 clips are quarantined, more than the share of 0\.1 .*, 2 for this: truncated: 1",
    ):
        STAGES["validate"].run(params(), paths, null_log)
    assert len(pd.read_csv(paths.validation / "quarantine.csv")) == 3


def test_a_missing_group_column_names_those_there_are(
    clean: tuple[Path, list[dict[str, Any]]], tmp_path: Path
) -> None:
    paths = lay_out(tmp_path, clean[1])
    with pytest.raises(UserError, match=r"'day', which is no column of the clips; there are .*camera"):
        STAGES["validate"].run(Params(split=SplitParams(group_by=["day"])), paths, null_log)


def test_no_manifest(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="ingest"):
        STAGES["validate"].run(params(), Paths(tmp_path), null_log)


@pytest.mark.shared
@pytest.mark.box
def test_real_plant_clips(tank_state: Path, tmp_path: Path) -> None:
    """The boxed first frames are found, copies go, and the four cameras are split 2, 1, 1."""
    paths = Paths(tmp_path)
    paths.ingested.parent.mkdir(parents=True)
    paths.ingested.symlink_to(tank_state)
    table = pd.read_csv(tank_state / "metadata.csv")
    rows = [
        row(r.path, tank_state / r.path, r.label, r.camera) | {"path": r.path}
        for r in table.itertuples(index=False)
    ]
    paths = lay_out(tmp_path, rows)
    metrics = STAGES["validate"].run(params(), paths, null_log)
    assert 0 < metrics["quarantined"] < 10 and metrics["twin_sets"] > 5
    found = json.loads((paths.validation / "summary.json").read_text())["shortcuts"]
    assert {cue["cue"]: cue["flagged"] for cue in found}["border"]
    STAGES["split"].run(params(), paths, null_log)
    groups = json.loads(paths.split_info.read_text())["groups"]
    assert {part: len(names) for part, names in groups.items()} == {"train": 2, "val": 1, "test": 1}
