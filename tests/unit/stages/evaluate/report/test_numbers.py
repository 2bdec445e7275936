"""No number in a sentence of the report is written there by hand: other measurements give other numbers."""

import dataclasses
import re
from html.parser import HTMLParser
from operator import eq
from typing import Any

import numpy as np
import pandas as pd

from slimstream.stages.evaluate.report import page
from slimstream.stages.evaluate.report.types import Report
from tests.unit.stages.evaluate.report.fake_report import report

CONSTANT = re.compile(
    r"F1"
    r"|9[05] % interval"  # what an interval is
    r"|“80 % sure” is right 80 %"  # how calibration is read
    r"|p50 / p95|95th"
    r"|λ = 0"
    r"|1 is perfect|to 1\."  # the end of a scale
    r"|clip-\d|g\d|lite\d|\d+ × \d+ pixels|flow 0\.0"  # names and settings in the made-up report
    r"|^\d things to know"  # how many notes there are
    r"|on \d{4}-\d\d-\d\d|\d+ \w+ \d{4}, \d\d:\d\d|[Ss]plit \w+"  # when and of which split the page was made
)
"""Numbers that explain a term or name something, and do not come from a measurement."""
NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
SENTENCES = {"p", "li", "figcaption", "h1", "h2", "h3", "div", "span", "dd", "dt", "summary"}


class Text(HTMLParser):
    """The sentences of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.sentences: list[str] = []
        self._inside: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag in SENTENCES:
            self.sentences.append("")
        if tag in SENTENCES | {"script", "style", "svg", "table"}:
            self._inside.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if self._inside and tag == self._inside[-1]:
            self._inside.pop()

    def handle_data(self, data: str) -> None:
        if self._inside and self._inside[-1] in SENTENCES:
            self.sentences[-1] += data


def other(value: Any, rng: np.random.Generator) -> Any:
    """The same with other numbers, and with one row less where something was listed."""
    if isinstance(value, bool | np.bool_):
        return value
    if isinstance(value, int | np.integer):
        return value + 7
    if isinstance(value, float | np.floating):
        return value * rng.uniform(0.7, 0.9) + 0.02
    if isinstance(value, pd.DataFrame):
        return value[:-1] * rng.uniform(0.7, 0.9)
    if isinstance(value, dict):
        return {key: other(one, rng) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(other(one, rng) for one in value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        changed = {field.name: other(getattr(value, field.name), rng) for field in dataclasses.fields(value)}
        return dataclasses.replace(value, **changed)
    return value


def sentences(html: str) -> list[str]:
    """All sentences without the constants."""
    plain = (" ".join(text.split()) for text in Text(html).sentences)
    return [" ".join(CONSTANT.sub("", text).split()) for text in plain]


def unchanged(one: Report, said: list[str], rng: np.random.Generator) -> set[str]:
    """Sentences of those that `one` says with a number that is the same for other measurements."""
    two: Report = dataclasses.replace(
        other(one, rng),
        interval=re.sub(r"\d+", "11", one.interval),
        wrong=other([*one.wrong, *one.wrong], rng),
        search=other(one.search[:-1], rng),
        search_result=other({**(one.search_result or {}), "folds": {"note": "5 folds"}}, rng),
    )
    again = sentences(page.render(two))
    pairs = [(a, b) for a, b in zip(said, again, strict=False) if NUMBER.sub("#", a) == NUMBER.sub("#", b)]
    assert sum(bool(NUMBER.search(a)) for a, _ in pairs) > 10
    return {a for a, b in pairs if any(map(eq, NUMBER.findall(a), NUMBER.findall(b)))}


def test_other_measurements_give_other_sentences() -> None:
    one, rng = report(), np.random.default_rng(0)
    said = sentences(page.render(one))
    # A small number may be the same by chance, but not three times.
    assert not set.intersection(*(unchanged(one, said, rng) for _ in range(3)))
