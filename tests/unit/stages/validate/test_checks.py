"""Expectations on the manifest, and Data Docs that need no network."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from slimstream.clips.params import ExtractParams
from slimstream.clips.timeline import Timeline
from slimstream.stages.validate.checks import defect, expect, outside
from slimstream.stages.validate.survey import Survey


@pytest.fixture
def manifest() -> pd.DataFrame:
    n = 6
    return pd.DataFrame(
        {
            "id": [f"clip-{i}" for i in range(n)],
            "key": [f"clip {i}.mp4" for i in range(n)],
            "path": [f"clip-{i}.mp4" for i in range(n)],
            "label": ["leak", "normal"] * 3,
            "sha256": [f"{i:064x}" for i in range(n)],
            "bytes": 1000,
            "frames": 20,
            "fps": 25.0,
            "width": 64,
            "height": 48,
            "seconds": 0.8,
            "codec": "mpeg4",
            "interlaced": False,
            "problem": "",
            "held_out": False,
        }
    )


def clips(manifest: pd.DataFrame) -> pd.DataFrame:
    return manifest.assign(twin=manifest["id"])


def test_a_good_manifest_passes_and_its_docs_need_no_network(manifest: pd.DataFrame, tmp_path: Path) -> None:
    site = tmp_path / "docs"
    assert expect(manifest, clips(manifest), ["leak", "normal"], site) == []
    index = (site / "index.html").read_text()
    pages = re.findall(r'href="([^"]+)"', index)
    assert index.count("✓ succeeded") == 2 and len(pages) == 2
    assert all("values must be unique" in (site / page).read_text() for page in pages)
    for page in site.rglob("*.html"):
        assert not re.search(r"<(script|link|img)\b", page.read_text()), f"{page} loads something"
    assert sum(file.stat().st_size for file in site.rglob("*") if file.is_file()) < 10**6


def test_what_is_wrong_is_named_and_shown(manifest: pd.DataFrame, tmp_path: Path) -> None:
    bad = clips(manifest).assign(
        fps=[25.0] * 5 + [-1.0],
        sha256="not a hash",
        frames=[20] * 5 + [1],
        label=["leak"] * 5 + ["fire"],
    )
    failed = expect(manifest.assign(id="twice"), bad, ["leak", "normal"], tmp_path)
    for words in (
        "manifest: id: .*unique",
        "clips: fps: .*-1",
        "clips: label: .*fire",
        "clips: frames: ",
        "clips: sha256: .*regex",
    ):
        assert any(re.search(words, line) for line in failed), (words, failed)
    assert (tmp_path / "index.html").read_text().count("✗ failed") == 2


@pytest.mark.parametrize(
    ("path", "bad"),
    [
        ("a.mp4", False),
        ("deep/a b.mp4", False),
        ("..a.mp4", False),
        ("", True),
        ("/etc/passwd", True),
        ("../a.mp4", True),
        ("a/../../b.mp4", True),
        ("..\\a.mp4", True),
        ("C:\\a.mp4", True),
        ("http://host/a.mp4", True),
    ],
)
def test_paths_stay_inside(path: str, bad: bool) -> None:
    assert outside(path) == bad


def surveyed(frames: int = 20, fps: float = 25.0, **more: Any) -> Survey:
    """A clip of constant rate in which nothing is wrong, except for what `more` says."""
    nothing = np.zeros(0, np.float32)
    well = Survey(
        timeline=Timeline(np.arange(frames) / fps),
        size=(48, 64),
        constant=True,
        interlaced=0,
        defect="",
        thumbs=nothing,
        mean=nothing,
        border=nothing,
    )
    return replace(well, **more)


SEEN_AS = ExtractParams(frames=4)


@pytest.mark.parametrize("fps", [2000.0, 25.0, 1 / 60])
@pytest.mark.parametrize("size", [(16, 16), (16384, 16384), (48, 64)])
def test_high_speed_and_time_lapse_clips_of_any_usual_size_are_fine(
    fps: float, size: tuple[int, int]
) -> None:
    assert defect(surveyed(fps=fps, size=size), SEEN_AS) == ""


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"frames": 1}, "only one frame"),
        ({"size": (8, 8)}, "8 × 8 pixels: each side must have 16 to 16384"),
        ({"size": (20000, 64)}, "64 × 20000 pixels"),
        ({"constant": False}, "change their size"),
        ({"defect": "truncated: 1.00 of 2.00 seconds can be decoded"}, "truncated: 1.00 of 2.00"),
    ],
)
def test_what_is_wrong_with_one_clip_is_its_own_reason(more: dict[str, Any], words: str) -> None:
    assert words in defect(surveyed(**more), SEEN_AS)


def test_one_frame_is_a_defect_of_a_video_alone() -> None:
    assert not defect(surveyed(1, still=True), ExtractParams(frames=4, flow="none"))


def test_a_clip_must_serve_the_flow_that_is_asked_for() -> None:
    few, gaps = surveyed(5), surveyed(timeline=Timeline(np.array([*range(25), 100, 175, 250]) / 25))
    assert not defect(few, SEEN_AS) and "too few for flow" in defect(few, ExtractParams(frames=4, stride=5))
    assert "has gaps" in defect(gaps, SEEN_AS) and not defect(gaps, ExtractParams(frames=4, flow="none"))


def test_pictures_have_no_length(manifest: pd.DataFrame, tmp_path: Path) -> None:
    pictures = manifest.assign(frames=1, fps=0.0, seconds=0.0)
    assert expect(pictures, clips(pictures), ["leak", "normal"], tmp_path / "docs") == []
