"""The verdict in the report: evaluate leaves its place, publish fills it."""

from collections.abc import Sequence
from datetime import datetime

from slimstream.stages.evaluate.report.templates import templates
from slimstream.stages.evaluate.verdict import Verdict

BEGIN, END = "<!--verdict-->", "<!--/verdict-->"
"""Comments around the place. No text of the user's can hold them, because it is escaped."""


def judged(page: str, verdict: Verdict) -> str:
    """The report `page` with `verdict` in its place. Raises ValueError when it has no such place."""
    before, after = _around(page)
    if after is None:
        raise ValueError("the page has no place for a verdict")
    return "".join([before, _place(verdict, "", verdict.comparison), after])


def is_made_of(report: str, page: str) -> bool:
    """Whether `report` is the report `page`, with any verdict or without one."""
    return _around(report) == _around(page)


def unjudged(model: str, comparison: Sequence[str]) -> str:
    """The place before publish: `model` is the title of the model to be published, "" without one."""
    return _place(None, model, comparison)


def _around(page: str) -> tuple[str, str | None]:
    """The page before and after the place of the verdict; None after it where there is no such place."""
    before, _, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    return before, after if end else None


def _place(verdict: Verdict | None, model: str, comparison: Sequence[str]) -> str:
    shown = templates().get_template("verdict.html")
    date = datetime.fromisoformat(verdict.date) if verdict else None
    html = shown.render(v=verdict, model=model, comparison=comparison, date=date)
    return f"{BEGIN}\n{html}\n{END}"
