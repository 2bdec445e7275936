"""Expectations on the manifest, and their report, which needs no network."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from slimstream.clips.params import ExtractParams
from slimstream.clips.timeline import Timeline
from slimstream.stages.validate.checks import defect, is_outside, run_expectations
from slimstream.stages.validate.page import Outcome, render
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


def rows(page: str) -> list[list[str]]:
    """The cells of each row of the report, as text."""
    found = re.findall(r"<tr.*?</tr>", page)
    return [[re.sub("<.*?>", " ", cell).strip() for cell in re.split("</t[dh]>", row)] for row in found]


def test_a_good_manifest_passes_and_its_report_needs_no_network(
    manifest: pd.DataFrame, tmp_path: Path
) -> None:
    folder = tmp_path / "docs"
    assert run_expectations(manifest, clips(manifest), ["leak", "normal"], folder) == []
    page = (folder / "index.html").read_text()
    assert "All expectations are met" in page and "✗" not in page
    assert ["✓ met", "fps", "at least 0", "all 6 pass"] in [row[:4] for row in rows(page)]
    assert not re.search(r"<(script|link|img)\b|https?://", page), "it loads something"
    assert [file.name for file in folder.iterdir()] == ["index.html"]


def test_what_is_wrong_is_named_and_shown(manifest: pd.DataFrame, tmp_path: Path) -> None:
    bad = clips(manifest).assign(
        fps=[25.0] * 5 + [-1.0],
        sha256="not a hash",
        frames=[20] * 5 + [1],
        label=["leak"] * 5 + ["fire"],
    )
    failed = run_expectations(manifest.assign(id="twice"), bad, ["leak", "normal"], tmp_path)
    for words in (
        "manifest: id: .*unique",
        "clips: fps: .*-1",
        "clips: label: .*fire",
        "clips: frames: ",
        "clips: sha256: .*regex",
    ):
        assert any(re.search(words, line) for line in failed), (words, failed)
    page = (tmp_path / "index.html").read_text()
    found = {(row[0], row[1], row[2]): row[3:] for row in rows(page)}
    assert found["✗ failed", "fps", "at least 0"][:2] == ["1 of 6 fail: -1.0", "clip 5.mp4"]
    assert found["✗ failed", "id", "unique values"][0] == "6 of 6 fail: twice"
    assert found["✓ met", "width", "16 to 16384"][0] == "all 6 pass"
    assert page.count("✗ failed") == len(failed) and f"{len(failed)} expectations are not met" in page
    assert page.index("✗ failed") < page.index("✓ met")


def test_a_column_that_is_missing_is_one_finding_among_others(manifest: pd.DataFrame, tmp_path: Path) -> None:
    whole = clips(manifest)
    failed = run_expectations(
        manifest.drop(columns="codec"), whole.drop(columns="width"), ["leak", "normal"], tmp_path
    )
    assert "manifest: codec: expected a column of this name, but the column is missing" in failed
    assert any(line.startswith("clips: width: expected 16 to 16384, but it cannot be") for line in failed)


def test_when_no_clip_is_left_the_report_says_so(manifest: pd.DataFrame, tmp_path: Path) -> None:
    failed = run_expectations(manifest, clips(manifest)[:0], ["leak", "normal"], tmp_path)
    assert failed == ["clips: table: expected at least one clip, but it has 0"]


def test_names_and_values_are_shown_as_they_are(manifest: pd.DataFrame, tmp_path: Path) -> None:
    """Whoever names the clips writes no HTML into the report."""
    odd = clips(manifest).assign(key=["<script>alert(1)</script>.mp4", *manifest["key"][1:]])
    odd["label"] = ["<b>leak</b>", *odd["label"][1:]]
    run_expectations(manifest, odd, ["leak", "normal", "<i>"], tmp_path)
    page = (tmp_path / "index.html").read_text()
    assert not re.search("<(script|b|i)>", page)
    assert "&lt;script&gt;alert(1)&lt;/script&gt;.mp4" in page and "1 of 6 fail: &lt;b&gt;leak" in page


def test_of_many_clips_that_fail_some_are_named(tmp_path: Path) -> None:
    outcome = Outcome("fps", "at least 0", "30 of 90 fail: -1", False, [f"{n}.mp4" for n in range(20)], 30)
    page = render({"manifest": [], "clips": [outcome]})
    assert "1 expectation is not met" in page and "and 10 more" in page


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
    assert is_outside(path) == bad


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
    assert run_expectations(pictures, clips(pictures), ["leak", "normal"], tmp_path / "docs") == []
