"""Addresses in the report."""

import pytest

from slimstream.core.paths import Paths
from slimstream.registry import links


def test_a_run_has_a_page_where_there_is_a_server_and_no_password_is_in_it() -> None:
    assert links.run_page("https://me:secret@box:5000/ml/", "7", "ab") == (
        "https://box:5000/ml/#/experiments/7/runs/ab"
    )
    assert links.run_page("sqlite:////x/mlflow.db", "7", "ab") == ""


@pytest.mark.parametrize(
    ("origin", "page"),
    [
        ("git@host.org:me/plant.git", "https://host.org/me/plant/commit/c0ffee"),
        ("https://me:secret@host.org/me/plant", "https://host.org/me/plant/commit/c0ffee"),
        ("ssh://git@host.org:2222/me/plant.git", "https://host.org/me/plant/commit/c0ffee"),
        ("/srv/git/plant.git", ""),
        ("", ""),
    ],
)
def test_a_commit_has_a_page_where_it_was_pushed_to_a_host(
    origin: str, page: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = {"remote": origin, "branch": "  origin/main"}
    monkeypatch.setattr(links, "git", lambda paths, *arguments: said[arguments[0]])
    assert links.commit_page(Paths(), "c0ffee") == page
    said["branch"] = ""
    assert links.commit_page(Paths(), "c0ffee") == "", "it is on this machine only"
