"""What a package of the project says of itself."""

import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_the_licence_is_named_and_its_whole_text_is_there() -> None:
    assert PROJECT["license"] == "Apache-2.0" and PROJECT["license-files"] == ["LICENSE"]
    text = (ROOT / "LICENSE").read_text()
    assert "Version 2.0, January 2004" in text and "END OF TERMS AND CONDITIONS" in text


def test_the_changelog_has_the_version_and_what_came_after() -> None:
    text = (ROOT / "CHANGELOG.md").read_text()
    assert text.index("\n## [Unreleased]\n") < text.index(f"\n## [{PROJECT['version']}]")
