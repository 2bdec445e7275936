"""The pages agree with the code: files, layers and columns that they name are those that there are."""

import ast
import re
import tomllib
from collections.abc import Iterator
from dataclasses import fields
from itertools import takewhile
from pathlib import Path

import pytest

from slimstream.catalog.manifest import COLUMNS as MANIFEST
from slimstream.models.checkpoint import Card
from slimstream.runtimes import RUNTIMES
from slimstream.runtimes.base import Form
from slimstream.stages.prune.rates import COLUMNS as RATES
from slimstream.stages.search.stage import COLUMNS as SEARCH
from slimstream.training.study import CURVES

ROOT = Path(__file__).parents[2]
ARCHITECTURE = ROOT / "docs/architecture.md"
FORMATS = ROOT / "docs/formats.md"
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
WRAPPED = [
    *(ROOT / name for name in ("README.md", "CHANGELOG.md")),
    *(
        ROOT / "docs" / f"{name}.md"
        for name in ("architecture", "contributing", "formats", "methods", "usage")
    ),
]
"""Pages whose lines are at most 110 columns wide, as those of the code are."""
MEASURED = {
    "3.11 or 3.12": ("pyproject.toml", 'requires-python = ">=3.11,<3.13"'),
    "8 GB": ("docs/usage.md", "about 8 GB of disk"),
    "six minutes": ("docs/performance.md", "`make demo` on a new clone takes 5 min 26 s"),
}
"""What README.md says in numbers, and where it is set or was measured."""
NUMBER = re.compile(r"\b\d+(?:\.\d+)*|\b\w+(?= minutes)")
FENCE = re.compile(r"^```.*?\n(.*?)^```", re.MULTILINE | re.DOTALL)


def fences(page: Path, section: str) -> list[str]:
    """The fenced blocks of the section with this heading."""
    return FENCE.findall(page.read_text().partition(f"\n## {section}\n")[2].partition("\n## ")[0])


def named_files() -> Iterator[tuple[str, str]]:
    """Every file of the list and its description; folders end with a slash and are indented by two.

    A folder described as "one file per ..." stands for all files that lie in it.
    """
    (block,) = fences(ARCHITECTURE, "Files")
    folders: list[str] = []
    for line in block.splitlines():
        name, _, description = line.strip().partition(" ")
        depth = len(list(takewhile(str.isspace, line))) // 2
        folders[depth:] = [name]
        path, description = "".join(folders), description.strip()
        if not name.endswith("/"):
            yield path, description
        elif description.startswith("one file per"):
            yield from ((str(file.relative_to(ROOT)), description) for file in (ROOT / path).glob("*.py"))


def holds_code(path: Path) -> bool:
    """False for an __init__ that holds a docstring alone."""
    return path.name != "__init__.py" or len(ast.parse(path.read_text()).body) > 1


def test_the_list_of_files_is_whole_and_true() -> None:
    named = dict(named_files())
    code = {
        str(path.relative_to(ROOT))
        for folder in ("src/slimstream", "flows", "infra")
        for path in (ROOT / folder).rglob("*.py")
        if holds_code(path)
    }
    assert not (missing := sorted(code - named.keys())), f"docs/architecture.md, Files, lacks {missing}"
    gone = [name for name in named if not (ROOT / name).is_file()]
    assert not gone, f"docs/architecture.md, Files, names what is not there: {gone}"
    assert all(named.values()), "every file needs a few words"


def test_the_picture_of_the_layers_shows_those_that_are_checked() -> None:
    (contract, *_) = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers = [[name.split(".")[1] for name in layer.split(" | ")] for layer in contract["layers"]]
    checked = list(dict.fromkeys(tuple(dict.fromkeys(layer)) for layer in layers))
    (block,) = fences(ARCHITECTURE, "Layers")
    drawn = [
        tuple(cell.split()[0] for cell in line.split("|")) for line in block.partition("─\n")[2].splitlines()
    ]
    assert drawn == [layer for layer in checked if layer != ("__main__",)]
    packages = {path.name for path in (ROOT / "src/slimstream").iterdir() if path.is_dir()} - {"__pycache__"}
    assert {package for layer in drawn for package in layer} == packages


@pytest.mark.parametrize(
    "names",
    [
        pytest.param([*MANIFEST], id="manifest"),
        pytest.param([*Card.model_fields], id="model.json"),
        pytest.param([field.name for field in fields(Form)], id="runtimes.json"),
        pytest.param([*RUNTIMES], id="runtimes"),
        pytest.param(SEARCH, id="search.csv"),
        pytest.param(RATES, id="rates.csv"),
        pytest.param(CURVES, id="curves"),
    ],
)
def test_the_formats_name_every_column(names: list[str]) -> None:
    said = set(re.findall(r"[\w.-]+", " ".join(re.findall(r"`([^`]+)`", FENCE.sub("", FORMATS.read_text())))))
    assert not set(names) - said


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    text = FENCE.sub("", page.read_text())
    for target in re.findall(r"(?:\]\(|src=\"|href=\")([^)\"\s]+)", text):
        if re.match(r"\w+:", target):
            continue
        file, _, anchor = target.partition("#")
        there = (page.parent / file).resolve() if file else page
        assert there.exists(), f"{page.name}: {target}"
        if anchor:
            headings = re.findall(r"^#+ (.+)$", FENCE.sub("", there.read_text()), re.MULTILINE)
            slugs = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
            assert anchor in slugs, f"{page.name}: {target}"


def test_every_number_of_the_readme_has_a_source() -> None:
    told = " ".join(re.sub(r"\]\([^)]*\)", "]", FENCE.sub("", (ROOT / "README.md").read_text())).split())
    for said, (file, source) in MEASURED.items():
        assert said in told and source in (ROOT / file).read_text(), said
        told = told.replace(said, "")
    told = told.replace("Apache-2.0", "")
    assert not NUMBER.findall(told)


def test_named_files_and_tests_exist() -> None:
    """`folder/file.py`, by the end of its path, and `test_name`."""
    code = [
        path
        for folder in ("src", "flows", "infra", "tests", "benchmarks")
        for path in (ROOT / folder).rglob("*.py")
    ]
    paths = {"/".join(path.parts[-n:]) for path in code for n in range(1, len(path.parts))}
    tests = {path.stem for path in code} | {
        name for path in code for name in re.findall(r"^def (test_\w+)", path.read_text(), re.MULTILINE)
    }
    for page in PAGES:
        if page.name == "contributing.md":  # its examples are files that are not there yet
            continue
        names = re.findall(r"`([\w/]+\.py|test_\w+)`", FENCE.sub("", page.read_text()))
        assert not set(names) - paths - tests, page.name


@pytest.mark.parametrize("page", WRAPPED, ids=lambda page: page.name)
def test_lines_are_short(page: Path) -> None:
    long = [line for line in page.read_text().splitlines() if len(line) > 110 and not line.startswith("|")]
    assert not long
