"""Expectations (Great Expectations) for the table of the manifest and that of the accepted clips.

`e` is the module `great_expectations.expectations`, which takes seconds to import. The description of an
expectation is what the report shows.
"""

from collections.abc import Sequence
from typing import Any

from slimstream.catalog.manifest import COLUMNS

LEAST, MOST = 16, 16384
"""Minimum and maximum width and height of a picture in pixels."""


def of_manifest(e: Any) -> list[Any]:
    """The expectations for the manifest."""
    return [
        *(e.ExpectColumnToExist(column=column, description="a column of this name") for column in COLUMNS),
        *_unique(e, "id", "key"),
        *_filled(e, "problem"),
        e.ExpectColumnValuesToBeInSet(
            column="held_out", value_set=[True, False], description="true or false"
        ),
    ]


def of_clips(e: Any, classes: Sequence[str], pictures: bool) -> list[Any]:
    """The expectations for the accepted clips of these classes; `pictures`: all clips are pictures."""
    ranges: dict[str, tuple[float, float | None]] = {
        "bytes": (1, None),
        "frames": (2, None),
        "fps": (0, None),
        "width": (LEAST, MOST),
        "height": (LEAST, MOST),
        "seconds": (0, None),
    }
    if pictures:
        ranges |= {"frames": (1, 1), "fps": (0, 0), "seconds": (0, 0)}
    return [
        e.ExpectTableRowCountToBeBetween(min_value=1, description="at least one clip"),
        _matching(e, "id", r"^[A-Za-z0-9._-]+$", "letters, digits, dots, hyphens and underscores"),
        e.ExpectColumnValuesToBeInSet(
            column="label", value_set=list(classes), description=f"one of the classes {', '.join(classes)}"
        ),
        _matching(e, "sha256", r"^[0-9a-f]{64}$", "64 hexadecimal digits"),
        e.ExpectColumnValuesToBeInSet(column="problem", value_set=[""], description="no problem"),
        *_unique(e, "id", "key", "path", "sha256"),
        *_filled(e, "label", "twin", *ranges),
        *(
            e.ExpectColumnValuesToBeBetween(
                column=column,
                min_value=low,
                max_value=high,
                description=f"at least {low}" if high is None else f"{low} to {high}",
            )
            for column, (low, high) in ranges.items()
        ),
    ]


def _matching(e: Any, column: str, regex: str, words: str) -> Any:
    return e.ExpectColumnValuesToMatchRegex(
        column=column, regex=regex, description=f"{words} (regex {regex})"
    )


def _unique(e: Any, *columns: str) -> list[Any]:
    return [e.ExpectColumnValuesToBeUnique(column=column, description="unique values") for column in columns]


def _filled(e: Any, *columns: str) -> list[Any]:
    return [
        e.ExpectColumnValuesToNotBeNull(column=column, description="no empty value") for column in columns
    ]
