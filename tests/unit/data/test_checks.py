"""Expectations on the manifest, and Data Docs that need no network."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from slimstream.data.checks import defect, expect, outside
from slimstream.data.survey import Survey


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
            "codec": "mp4v",
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
        fps=[25.0] * 5 + [9e6],
        sha256="not a hash",
        frames=[20] * 5 + [1],
        label=["leak"] * 5 + ["fire"],
    )
    failed = expect(manifest.assign(id="twice"), bad, ["leak", "normal"], tmp_path)
    for words in (
        "manifest: id: .*unique",
        "clips: fps: .*9000000",
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


@pytest.mark.parametrize(
    ("claimed", "frames", "words"),
    [
        (100, 100, ""),
        (100, 91, ""),
        (100, 89, "truncated: 89 of 100"),
        (10, 7, ""),
        (0, 50, ""),
        (50, 90, ""),
        (1, 1, "one frame"),
        (250, 1, "one frame"),
    ],
)
def test_defects(claimed: int, frames: int, words: str) -> None:
    nothing = np.zeros(0, np.float32)
    assert words in defect(Survey(claimed, frames, True, nothing, nothing, nothing))
    assert bool(words) == bool(defect(Survey(claimed, frames, True, nothing, nothing, nothing)))


def test_one_frame_is_a_defect_of_a_video_alone() -> None:
    nothing = np.zeros(0, np.float32)
    assert "one frame" in defect(Survey(1, 1, True, nothing, nothing, nothing))
    assert not defect(Survey(1, 1, True, nothing, nothing, nothing, still=True))


def test_pictures_have_no_length(manifest: pd.DataFrame, tmp_path: Path) -> None:
    pictures = manifest.assign(frames=1, fps=0.0, seconds=0.0)
    assert expect(pictures, clips(pictures), ["leak", "normal"], tmp_path / "docs") == []


def test_changing_size_is_a_defect() -> None:
    nothing = np.zeros(0, np.float32)
    assert "size" in defect(Survey(20, 20, False, nothing, nothing, nothing))
