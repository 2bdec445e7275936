"""The page of `dvc plots show`, in a browser: it is drawn without Vega and without a network."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.flows.browser import CHROMIUM, QUIET

PLOTS = Path(__file__).parents[2] / ".dvc/plots"
FRONT = [(5, 0.6, True), (20, 0.9, True), (40, 0.7, False)]
"""Milliseconds, macro-F1, on the front."""


def drawn(folder: Path, *plots: tuple[str, list[dict[str, Any]], dict[str, str]]) -> str:
    """The page with `plots` (name, rows, properties), as text of its elements once its scripts have run."""
    from dvc_render import VegaRenderer, render_html

    made = [VegaRenderer(rows, name, template_dir=PLOTS, **look) for name, rows, look in plots]
    page = render_html(made, folder / "index.html", PLOTS / "page.html")
    command = [CHROMIUM, "--headless", *QUIET, "--dump-dom", Path(page).as_uri()]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout


@pytest.mark.box
def test_the_page_draws_what_has_rows(tmp_path: Path) -> None:
    candidates = [
        {"rev": rev, "ms": str(ms), "score": str(score), "on_front": str(on), "chosen": str(ms == 20)}
        for rev in ("workspace", "HEAD")
        for ms, score, on in FRONT
    ]
    judged = [
        {"rev": "workspace", "actual": actual, "predicted": predicted}
        for actual, predicted in [("leak", "leak")] * 3 + [("leak", "normal"), ("normal", "normal")]
    ]
    look = {"x": "ms", "y": "score", "title": "Candidates", "x_label": "milliseconds", "y_label": "macro-F1"}
    page = drawn(
        tmp_path,
        ("search", candidates, {"template": "front", **look}),
        ("rates", [], {"template": "simple", **look}),
        (
            "confusion",
            judged,
            {"template": "confusion", "x": "predicted", "y": "actual", "title": "Confusion"},
        ),
    )
    assert re.findall(r"<h2>(.*?)</h2>", page) == ["Candidates", "Confusion"]
    assert ">milliseconds</text>" in page and ">macro-F1</text>" in page
    assert page.count("<circle") == 6 and page.count('r="7"') == 2
    assert [len(points.split()) for points in re.findall(r'points="(.*?)"', page)] == [2, 2]
    assert re.findall(r"<td.*?>(\d+)</td>", page) == ["3", "1", "0", "1"]
