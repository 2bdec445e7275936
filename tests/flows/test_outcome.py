"""What a run leaves on its page in Prefect and in the terminal."""

import json
from pathlib import Path

import pytest

from flows import outcome
from slimstream.core.paths import Paths


def test_links_hold_no_password(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://ann:secret@box:5000")
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path))
    paths, page = Paths(tmp_path), "http://box:5000/#/experiments/1/runs/abc"
    verdict = {"promoted": True, "changed": False, "sentences": [], "run_url": page}
    for file, content in ((paths.metrics("evaluate"), {}), (paths.run("publish"), verdict)):
        file.parent.mkdir()
        file.write_text(json.dumps(content))
    links: list[str] = []
    monkeypatch.setattr(outcome, "create_link_artifact", lambda link, **_: links.append(link))
    for name in ("create_markdown_artifact", "create_image_artifact"):
        monkeypatch.setattr(outcome, name, lambda *_, **__: None)
    monkeypatch.setattr(outcome.pictures, "front", lambda paths: "")
    outcome.publish_artifacts(paths)
    assert links == [page]
    told = outcome.summary(paths)
    assert "http://box:5000" in told and "secret" not in told
