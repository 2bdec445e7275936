"""The page with the outcomes of all expectations: one HTML file that loads no other file."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

SHOWN = 20
"""Maximum number of clips that are named for a failed expectation."""


@dataclass(frozen=True)
class Outcome:
    """The result of checking one expectation."""

    column: str
    """The column that is checked; "" for the whole table."""
    expected: str
    found: str
    met: bool
    clips: list[str]
    """Keys of clips that fail it, at most SHOWN of them."""
    failing: int
    """How many clips fail it."""

    def __str__(self) -> str:
        return f"{self.column or 'table'}: expected {self.expected}, but {self.found}"


def render(outcomes: Mapping[str, Sequence[Outcome]]) -> str:
    """The page as HTML; `outcomes` are those of each table, by its name."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    failed = sum(not outcome.met for all_ in outcomes.values() for outcome in all_)
    return environment.get_template("page.html").render(outcomes=outcomes, failed=failed)


def outcome_of(result: Any, table: pd.DataFrame) -> Outcome:
    """Convert a `result` of Great Expectations with format COMPLETE; the keys of `table` name the clips."""
    config, details = result.expectation_config, result.result
    failing = details.get("unexpected_index_list") or []
    return Outcome(
        column=config.kwargs.get("column", ""),
        expected=config.description,
        found=_found(result),
        met=bool(result.success),
        clips=[str(key) for key in table.loc[failing[:SHOWN], "key"]] if "key" in table else [],
        failing=len(failing),
    )


def _found(result: Any) -> str:
    details = result.result
    if "observed_value" in details:  # of the table
        return f"it has {details['observed_value']}"
    if "element_count" in details:
        count, wrong = details["element_count"], details["unexpected_count"]
        empty = f" ({missing} are empty)" if (missing := details.get("missing_count")) else ""
        if not wrong:
            return f"all {count} pass{empty}"
        values = dict.fromkeys(
            "nothing" if pd.isna(value) else str(value)[:80] for value in details["partial_unexpected_list"]
        )
        return f"{wrong} of {count} fail: {', '.join(values)}{empty}"
    if result.exception_info.get("raised_exception") is False:  # of a column
        return f"the column is {'there' if result.success else 'missing'}"
    # Each number that could not be computed has a reason; the first one is shown.
    told = [info for info in result.exception_info.values() if isinstance(info, dict)]
    reason = str(told[0].get("exception_message", "")) if told else ""
    return f"it cannot be checked: {' '.join(reason.split())[:200]}"
