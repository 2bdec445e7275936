"""Check labels and columns of a source: group columns, video column, given split."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from math import ceil

import pandas as pd

from slimstream.catalog.listing import LABELLED, METADATA, Item
from slimstream.catalog.manifest import COLUMNS
from slimstream.catalog.names import UNKNOWN, normal_form, similar_names
from slimstream.catalog.part_names import GIVEN_COLUMN
from slimstream.core.errors import UserError
from slimstream.splits.given import parts_of
from slimstream.splits.groups import missing_column
from slimstream.splits.params import SplitParams


def effective_group_by(columns: Iterable[str], split: SplitParams) -> list[str]:
    """Return the group columns of the split. An empty list means that near-twin sets are the groups.

    A source without group columns, such as one folder per class, is always split by near-twin sets. Raises
    UserError when there are group columns, but not those of `split.group_by`.
    """
    columns = list(columns)
    wanted = [normal_form(column) for column in split.group_by]
    own = [column for column in columns if column not in (GIVEN_COLUMN, split.given)]
    missing = [column for column in wanted if column not in (*columns, *COLUMNS)]
    if missing and own:
        raise missing_column("split.group_by", missing[0], own)
    return [] if missing else wanted


def lacking_columns(group_by: Sequence[str], split: SplitParams) -> list[str]:
    """Return the columns by which clips should be grouped; empty when they are grouped, or given a split."""
    if group_by or (split.given and not split.group_by):
        return []
    return split.group_by or ["camera", "recording"]


def ungrouped_warning(group_by: Sequence[str], split: SplitParams) -> str:
    """Return a warning when near-twin sets are the groups, else ""."""
    if not (lacking := lacking_columns(group_by, split)):
        return ""
    return (
        f"the clips are not split by {' or '.join(lacking)}, so near-twin sets are the groups: clips of "
        f"one {lacking[0]} may lie in train and in test, and scores may be flattered; a column of "
        f"{METADATA} can tell it, and split.group_by names the column."
    )


COUNTED = "those that an earlier champion has learnt from do not count"
"""Which test clips the gate leaves out, for a sentence on how many it needs."""


def too_few_test_clips(clips: int, least: int, settings: SplitParams, group_by: Sequence[str]) -> str:
    """Return what to do when `clips` test clips are fewer than `least`, else "" (as in a fold)."""
    if clips >= least or settings.test_group:
        return ""
    folds = " `make folds` judges every clip once, in folds over the groups." if group_by else ""
    whole = ceil(least / settings.test)
    share = "" if settings.given else f" About {whole} clips in all would suffice; {COUNTED}."
    return (
        f"{clips} test clips are fewer than publish.gate.min_clips ({least}), so that no version becomes "
        f"champion by itself.{share}{folds} By hand: `python -m slimstream promote VERSION --force`."
    )


def allowed_labels(labels: Iterable[str], keys: Iterable[str], classes: Iterable[str]) -> list[str]:
    """Return `classes` with the states that were named in the inbox of `watch`, sorted; [] without classes.

    There a new state has a key of its own, so it is no slip. `labels` are those of the clips with `keys`.
    """
    allowed = {normal_form(label) for label in classes}
    named = {label for label, key in zip(labels, keys, strict=True) if key.startswith(LABELLED)}
    return sorted(allowed | named) if allowed else []


def check_labels(labels: Iterable[str], keys: Iterable[str], classes: Sequence[str]) -> None:
    """Raise UserError for a label that `allowed_labels` does not hold, and for `unknown`, which is no class.

    An empty `classes` allows all other labels.
    """
    labels, keys = list(labels), list(keys)
    allowed = allowed_labels(labels, keys, classes)
    example: dict[str, str] = {}
    for label, key in zip(labels, keys, strict=True):
        example.setdefault(label, key)
    if named := [label for label in example if label.casefold() == UNKNOWN]:
        raise UserError(
            f"the label {named[0]!r} (as of {example[named[0]]}) is what a network answers for a clip "
            "that is like none it has learnt from: give this class another name, or leave its clips out."
        )
    if allowed and (unknown := sorted(example.keys() - {*allowed})):
        raise UserError(
            f"unknown labels {', '.join(map(repr, unknown[:10]))} (as of {example[unknown[0]]}): "
            f"validate.classes in params.yaml allows {', '.join(allowed)}: mend one or the other."
        )


def check_columns(items: Sequence[Item], split: SplitParams, classes: Sequence[str]) -> list[str]:
    """Return warnings about labels and columns, one sentence each.

    Raises UserError when params.yaml names a label, group or column that the clips do not have.
    """
    columns = sorted({column for item in items for column in item.groups})
    group_by = effective_group_by(columns, split)
    if split.video and split.video not in columns:
        raise missing_column("split.video", split.video, columns)
    messages = [ungrouped_warning(group_by, split)]
    if split.given:
        if split.given not in columns:
            raise missing_column("split.given", split.given, columns)
        parts_of(pd.Series({item.key: item.groups[split.given] for item in items}, dtype=str), split.given)
    elif GIVEN_COLUMN in columns:
        counts = Counter(item.groups[GIVEN_COLUMN] for item in items)
        messages.append(
            f"the folders name a split ({_counted(counts, sorted(counts))}), which is kept as the column "
            f"'{GIVEN_COLUMN}' and not used: set split.given to '{GIVEN_COLUMN}' to use it."
        )
    check_labels((item.label for item in items), (item.key for item in items), classes)
    allowed = {normal_form(label) for label in classes}
    labels = Counter(item.label for item in items)
    for names in similar_names(labels):
        if not {*names} <= allowed:
            messages.append(
                f"the labels {' and '.join(names)} differ in case or spacing alone and are classes of their "
                f"own ({_counted(labels, names)} clips): give them one name, or list all in validate.classes."
            )
    for column in [*group_by, *([split.video] if split.video else [])]:
        values = Counter(item.groups.get(column, "") for item in items)
        messages += [
            f"the values {' and '.join(names)} of {column} differ in case or spacing alone and are groups of "
            f"their own ({_counted(values, names)} clips): give them one name if they are one."
            for names in similar_names(values)
        ]
    return [sentence for sentence in messages if sentence]


def _counted(counts: Mapping[str, int], names: Iterable[str]) -> str:
    return ", ".join(f"{name}: {counts[name]}" for name in names)
