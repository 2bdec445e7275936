"""Choose the groups of a data set that nobody described: by a column, by file names, or none.

A grouping is suitable when train, val and test can be made of its groups, every class lies in several groups,
and groups hold several clips. Of the suitable ones the first is taken, in the order of `_candidates`.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import pandas as pd

from slimstream.catalog.listing import Item, Listing
from slimstream.catalog.part_names import GIVEN_COLUMN, part_named
from slimstream.core.errors import UserError
from slimstream.splits.given import split_as_given
from slimstream.splits.groups import split
from slimstream.stages.ingest.name_columns import with_name_columns

KINDS = {
    "camera": ("camera", "cam", "kamera"),
    "person": ("person", "subject", "patient", "proband"),
    "part": ("part", "specimen", "object", "teil", "bauteil"),
    "machine": ("machine", "line", "site", "plant", "maschine", "linie", "anlage"),
    "recording": ("recording", "rec", "session", "take", "video", "aufnahme"),
    "batch": ("batch", "lot", "run", "charge"),
    "date": ("date", "day", "datum", "tag"),
}
"""Kinds of groups, the most telling first, and the words by which columns and file names call them."""
DATE = r"(?<!\d)(?P<date>(?:19|20)\d\d[-_.]?[01]\d[-_.]?[0-3]\d)(?=(?:\d{4}|\d{6})?(?!\d))"
"""A date in a file name; hours, minutes and seconds may follow."""
CLIPS_PER_GROUP = 2
"""Clips that a group has on average, at least: a value that each clip has for itself is no group."""


@dataclass(frozen=True)
class Grouping:
    """A choice of groups, and why."""

    group_by: list[str]
    """Value of `split.group_by`; empty: near-twin sets are the groups."""
    columns: str | None = None
    """Value of `ingest.columns`, when the group is read from names."""
    given: str | None = None
    """Value of `split.given`, when the split that came with the data is used."""
    why: str = ""
    """One sentence."""


def suggest(items: Sequence[Item]) -> Grouping:
    """Return the groups for the clips `items`."""
    refused = ""
    for grouping in _candidates(items):
        (column,) = grouping.group_by
        if grouping.columns and column in items[0].groups:
            continue
        named = with_name_columns(Listing(list(items), {}), grouping.columns).items
        if not (reason := _unsuitable(named, column, CLIPS_PER_GROUP if grouping.columns else 0)):
            return grouping
        if not grouping.columns and not refused:
            refused = f"The column {column} is no group: {reason}. "
    if GIVEN_COLUMN in items[0].groups and _can_be_used(items):
        return Grouping(
            [],
            given=GIVEN_COLUMN,
            why="The split of the folders is kept: those of train and test say which clips are which.",
        )
    return Grouping(
        [],
        why=f"{refused}Neither a column nor the file names give suitable groups, so clips that are almost "
        "equal form them: scores may be flattered. At least three cameras, one for each clip in a "
        "metadata.csv, mend it.",
    )


def _candidates(items: Sequence[Item]) -> Iterator[Grouping]:
    """Columns of a known kind, names that tell a known kind, other columns, folders, series of names."""
    columns = [name for name in items[0].groups if not _is_split_column(items, name)]
    known = sorted((rank, name) for name in columns if (rank := _rank(name)) is not None)
    for _, name in known:
        yield Grouping([name], why=f"The column {name} tells which clips belong together.")
    yield _by_name("recording", r"(?P<recording>g\d+)_c\d+\.\w+$", "a recording and a number, as g01_c02")
    for kind, words in KINDS.items():
        spelt = f"(?i:{'|'.join(sorted(words, key=len, reverse=True))})"
        pattern = rf"(?<![A-Za-z])(?P<{kind}>{spelt}[ _-]?\d+)(?!\d)"
        yield _by_name(kind, pattern, f"a {kind} by its number")
    yield _by_name("date", DATE, "a date")
    for name in sorted(set(columns) - {name for _, name in known}):
        if not _is_measured(items, name):
            yield Grouping([name], why=f"The column {name} has several clips a value; its name says no more.")
    depth = 2 if GIVEN_COLUMN in items[0].groups else 1
    folder = rf"^(?:[^/]+/){{{depth}}}(?P<folder>[^/]+)/"
    yield _by_name("folder", folder, "a folder below the class")
    yield _by_name("series", r"(?P<series>[^/]*[^\W\d_])[ _.-]*\d+\.\w+$", "a series before a number")


def _by_name(column: str, pattern: str, what: str) -> Grouping:
    return Grouping(
        [column],
        columns=pattern,
        why=f"The file names hold {what}: the column {column} is read from them, and tells which clips "
        "belong together.",
    )


def _rank(column: str) -> int | None:
    """Position in KINDS of the kind that a column's name tells, as `camera_id` or `Kamera`; or None."""
    words = {word.removesuffix("s") for word in re.findall(r"[^\W\d_]+", column.casefold())}
    return next((rank for rank, of in enumerate(KINDS.values()) if words & {*of}), None)


def _is_split_column(items: Iterable[Item], column: str) -> bool:
    return all(part_named(item.groups.get(column, "")) for item in items)


def _is_measured(items: Iterable[Item], column: str) -> bool:
    """Whether the column holds numbers with a decimal point."""
    return any(re.fullmatch(r"[-+]?\d*[.,]\d+(e[-+]?\d+)?", item.groups.get(column, "")) for item in items)


def _unsuitable(items: Sequence[Item], column: str, of_a_class: int) -> str:
    """Why clips cannot be split by `column`, or "".

    A group must have `of_a_class` clips of each of its classes on average.
    """
    values = [item.groups.get(column, "") for item in items]
    pairs = set(zip(values, (item.label for item in items), strict=True))
    if not all(values):
        return f"it is empty for some clips ({values.count('')})"
    if len(items) < CLIPS_PER_GROUP * len(set(values)):
        return f"its {len(set(values))} values have fewer than {CLIPS_PER_GROUP} clips on average"
    if len(items) < of_a_class * len(pairs):
        return f"its values have fewer than {of_a_class} clips of a class on average"
    groups = Counter(label for _, label in pairs)
    if single := sorted(label for label, count in groups.items() if count < 2):
        return f"all clips of {', '.join(single)} have the same value of it"
    try:
        split(clip_table(items), [column], 0.7, 0.0, 0.3)
    except UserError as error:
        return str(error).partition(": add ")[0].partition("; add ")[0].removesuffix(".")
    return ""


def _can_be_used(items: Sequence[Item]) -> bool:
    try:
        split_as_given(clip_table(items), [], GIVEN_COLUMN)
    except UserError:
        return False
    return True


def clip_table(items: Sequence[Item], held_out: Iterable[str] = ()) -> pd.DataFrame:
    """Listed clips as a table for `split`: `id, key, label, twin, held_out` and the columns.

    Near twins are not known before `validate`, so that each clip is a twin set of its own here.
    """
    table = pd.DataFrame(
        [{**item.groups, "id": item.key, "key": item.key, "label": item.label} for item in items]
    )
    return table.assign(twin=table["id"], held_out=table["key"].isin({*held_out}))
